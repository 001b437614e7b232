"""The order of processes that write to one file: none of them is blocked forever."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from outlast.brokers.sqlite.statements import open_store
from outlast.brokers.sqlite.tuning import Tuning
from outlast.clients.sqlite import writer_queue
from outlast.clients.sqlite.connection import SharedConnection, open_connection
from outlast.clients.sqlite.writer_queue import POSITIONS, WriterQueue
from tests.support.polling import until
from tests.support.sqlite_file import locked


@pytest.fixture
def db(tmp_path: Path) -> Iterator[SharedConnection]:
    """A connection to a fresh file."""
    db = open_store(str(tmp_path / "jobs.db"), Tuning())
    yield db
    db.close()


def turn(own: WriterQueue, db: SharedConnection) -> None:
    """Begin and end one transaction."""
    own.begin(db)
    db.execute("rollback")


def with_other_writers(db: SharedConnection, folder: Path) -> WriterQueue:
    """Return a queue whose owner has just waited for another writer."""
    own = WriterQueue(folder)
    path = Path(db.filename)
    with ThreadPoolExecutor(1) as pool, locked(path):
        waiting = pool.submit(turn, own, db)
        assert not waiting.done()
    waiting.result()
    return own


def test_alone_there_is_no_queue(db: SharedConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_queue, "NOTICED", 3600.0)  # on a busy machine any transaction may take long
    own = WriterQueue(tmp_path)
    turn(own, db)
    turn(own, db)
    assert not list(tmp_path.glob("line-*"))


def test_beside_other_writers_a_position_is_taken_and_released(db: SharedConnection, tmp_path: Path) -> None:
    own = with_other_writers(db, tmp_path)
    turn(own, db)
    files = sorted(tmp_path.glob("line-*"))
    assert len(files) == POSITIONS
    for position in files:
        with position.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    own.close()


def test_a_stuck_queue_is_skipped_and_then_ignored_for_some_seconds(
    db: SharedConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a process in it was stopped."""
    monkeypatch.setattr(writer_queue, "PATIENCE", 0.05)
    monkeypatch.setattr(writer_queue, "CONTENDED", 3600.0)
    monkeypatch.setattr(writer_queue, "IGNORED", 3600.0)
    own = with_other_writers(db, tmp_path)
    turn(own, db)
    with (tmp_path / "line-1").open() as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        turn(own, db)
        monkeypatch.setattr(writer_queue, "PATIENCE", 3600.0)
        turn(own, db)
        for number in range(2, POSITIONS):
            with (tmp_path / f"line-{number}").open() as free:
                fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)
    own.close()


def test_without_a_folder_there_is_no_queue_but_every_transaction_begins(db: SharedConnection, tmp_path: Path) -> None:
    own = with_other_writers(db, tmp_path / "nowhere")
    turn(own, db)
    own.close()


def test_a_transaction_that_cannot_begin_leaves_the_queue(db: SharedConnection, tmp_path: Path) -> None:
    own = with_other_writers(db, tmp_path)
    short = open_connection(db.filename, 0.01)
    with locked(Path(db.filename)), pytest.raises(apsw.BusyError):
        own.begin(short)
    turn(own, db)
    with (tmp_path / "line-0").open() as first:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
    short.close()
    own.close()


def test_many_take_turns_and_all_get_theirs(db: SharedConnection, tmp_path: Path) -> None:
    path, turns = db.filename, 50
    counts = [0] * 6
    start = threading.Barrier(len(counts))

    def work(number: int) -> None:
        mine, own = open_connection(path), WriterQueue(tmp_path)
        start.wait()
        for _ in range(turns):
            own.begin(mine)
            mine.execute("update store set fence = fence + 1")
            mine.execute("commit")
            counts[number] += 1
        own.close()
        mine.close()

    with ThreadPoolExecutor(len(counts)) as pool:
        for each in [pool.submit(work, number) for number in range(len(counts))]:
            each.result()
    assert counts == [turns] * len(counts)
    assert db.execute("select fence from store").get == turns * len(counts)


def announced(folder: Path) -> bool:
    """Return whether an urgent transaction is announced."""
    with (folder / "announced").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def test_an_urgent_transaction_goes_before_others_that_wait(
    db: SharedConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_queue, "GIVE_WAY", 3600.0)
    begun: list[str] = []

    def begin(name: str, *, urgent: bool) -> None:
        mine, own = open_connection(db.filename), WriterQueue(tmp_path)
        own.begin(mine, urgent=urgent)
        begun.append(name)
        mine.execute("rollback")
        own.close()
        mine.close()

    with ThreadPoolExecutor(2) as pool:
        with locked(Path(db.filename)):
            urgent = pool.submit(begin, "urgent", urgent=True)
            await until(lambda: announced(tmp_path), "the urgent transaction is announced")
            other = pool.submit(begin, "other", urgent=False)
        for each in (urgent, other):
            each.result()
    assert begun == ["urgent", "other"]
    assert not announced(tmp_path)


def test_an_announcement_that_stays_delays_others_only_for_a_time(
    db: SharedConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its process was stopped."""
    monkeypatch.setattr(writer_queue, "GIVE_WAY", 0.01)
    own = WriterQueue(tmp_path)
    with (tmp_path / "announced").open("a") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_SH)
        turn(own, db)
    own.close()


def test_an_urgent_transaction_waits_for_at_most_two_others(
    db: SharedConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the one that runs, and for one more that had asked before the announcement."""
    monkeypatch.setattr(writer_queue, "GIVE_WAY", 3600.0)
    monkeypatch.setattr(writer_queue, "CONTENDED", 3600.0)
    path, workers, over = db.filename, 4, threading.Event()
    done = [0] * workers
    at_announcement: list[int] = []
    me = threading.get_ident()

    def announce(own: writer_queue._Announcement) -> None:
        make(own)
        if threading.get_ident() == me and len(at_announcement) == len(ahead):
            at_announcement.append(sum(done))

    make = writer_queue._Announcement.make
    monkeypatch.setattr(writer_queue._Announcement, "make", announce)

    def work(number: int) -> None:
        mine, own = open_connection(path), WriterQueue(tmp_path)
        while not over.is_set():
            own.begin(mine)
            mine.execute("update store set fence = fence + 1")
            done[number] += 1
            mine.execute("commit")
        own.close()
        mine.close()

    own, ahead = WriterQueue(tmp_path), list[int]()
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(work, number) for number in range(workers)]
        while len(ahead) < 100:
            own.begin(db, urgent=True)
            now = sum(done)
            db.execute("rollback")
            if len(at_announcement) > len(ahead):
                ahead.append(now - at_announcement[-1])
        over.set()
        for each in running:
            each.result()
    own.close()
    assert max(ahead) <= 2, sorted(ahead)
