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
from outlast.clients.sqlite.connection import open_connection
from outlast.clients.sqlite.writer_queue import POSITIONS, WriterQueue
from tests.support.sqlite_file import locked


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    """A connection to a fresh file."""
    db = open_store(str(tmp_path / "jobs.db"), Tuning())
    yield db
    db.close()


def turn(own: WriterQueue, db: apsw.Connection) -> None:
    """Begin and end one transaction."""
    own.begin(db)
    db.execute("rollback")


def with_other_writers(db: apsw.Connection, folder: Path) -> WriterQueue:
    """Return a queue whose owner has just waited for another writer."""
    own = WriterQueue(folder)
    path = Path(db.filename)
    with ThreadPoolExecutor(1) as pool, locked(path):
        waiting = pool.submit(turn, own, db)
        assert not waiting.done()
    waiting.result()
    return own


def test_alone_there_is_no_queue(db: apsw.Connection, tmp_path: Path) -> None:
    own = WriterQueue(tmp_path)
    turn(own, db)
    turn(own, db)
    assert not list(tmp_path.glob("line-*"))


def test_beside_other_writers_a_position_is_taken_and_released(db: apsw.Connection, tmp_path: Path) -> None:
    own = with_other_writers(db, tmp_path)
    turn(own, db)
    files = sorted(tmp_path.glob("line-*"))
    assert len(files) == POSITIONS
    for position in files:
        with position.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    own.close()


def test_a_stuck_queue_is_skipped_and_then_ignored_for_some_seconds(
    db: apsw.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_without_a_folder_there_is_no_queue_but_every_transaction_begins(db: apsw.Connection, tmp_path: Path) -> None:
    own = with_other_writers(db, tmp_path / "nowhere")
    turn(own, db)
    own.close()


def test_a_transaction_that_cannot_begin_leaves_the_queue(db: apsw.Connection, tmp_path: Path) -> None:
    own = with_other_writers(db, tmp_path)
    short = open_connection(db.filename, 0.01)
    with locked(Path(db.filename)), pytest.raises(apsw.BusyError):
        own.begin(short)
    turn(own, db)
    with (tmp_path / "line-0").open() as first:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
    short.close()
    own.close()


def test_many_take_turns_and_all_get_theirs(db: apsw.Connection, tmp_path: Path) -> None:
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
