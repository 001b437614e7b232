"""A disk that is really full, files that are really damaged: the errors, the jobs that stay, the recovery."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from outlast.brokers.sqlite.tuning import Tuning
from outlast.core.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from outlast.core.settlement import ACCEPTED, Note, Reschedule
from outlast.core.store.control import Prune
from outlast.core.store.records import Query
from outlast.testing.clock import FakeClock
from tests.support.disk import fill, mounted, read_only
from tests.support.jobs import B, Desk, raw
from tests.support.polling import until
from tests.support.sqlite_file import look
from tests.support.sqlite_process import journals, start

NEVER = Tuning(idle=3600, retention=3600, log_pages=10**9, log_limit=10**9, vacuum_pages=10**9)
"""The tidier does not run until a test starts it."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 4 MB."""
    with mounted(tmp_path / "disk", "4m") as folder:
        yield folder


def made(path: Path, tuning: Tuning = NEVER) -> Desk:
    """Return a desk on a store at `path`, not open."""
    clock = FakeClock()
    return Desk(SqliteStore(str(path), clock=clock, tuning=tuning), clock)


@pytest.fixture
async def desk(disk: Path) -> AsyncIterator[Desk]:
    """A store on the small disk: of ten jobs, three run."""
    desk = made(disk / "jobs.db")
    await desk.store.open()
    await desk.publish(*(f"q.{n}" for n in range(10)))
    await desk.claim(limit=3)
    yield desk
    await desk.store.close()


async def brim(desk: Desk, disk: Path) -> Path:
    """Fill the disk and the room that is left in the log."""
    filler = fill(disk)
    with pytest.raises(StoreFull):
        for n in range(1000):
            await desk.publish(f"brim.{n}", args={"text": "x" * 3000})
    return filler


async def test_each_call_on_a_full_disk_raises_store_full_and_can_be_repeated(desk: Desk, disk: Path) -> None:
    filler = await brim(desk, disk)
    body = {"text": "x" * 30_000}
    calls: dict[str, Callable[[], Any]] = {
        "publish": lambda: desk.publish("q.new", args=body),
        "retry": lambda: desk.settle(
            Reschedule(desk.fence("q.0"), at=0, attempt=2, then=[desk.message("q.then", args=body)])
        ),
        "save": lambda: desk.store.save([Note(desk.fence("q.1"), "progress", raw(body))]),
    }
    for call in calls.values():
        with pytest.raises(StoreFull, match=r"the disk .* of .*jobs\.db is full: free some space; no accepted job"):
            await call()
    assert await desk.state("q.new") == "unknown"
    assert [await desk.state(id) for id in ("q.0", "q.1", "q.2", "q.3")] == ["running"] * 3 + ["ready"]
    filler.unlink()
    assert await calls["publish"]() == [ACCEPTED]
    assert await calls["retry"]() == []
    assert await calls["save"]() == []
    assert await desk.finish("q.1", "q.2") == []
    assert set(await desk.ids(holder=B)) == {f"q.{n}" for n in range(3, 10)} | {"q.0", "q.new", "q.then"}


async def test_a_worker_on_a_full_disk_loses_nothing(desk: Desk, disk: Path) -> None:
    """Claims, renewals and settlements write little: each works in the space of the log, or raises and is repeated."""
    filler = await brim(desk, disk)
    full = 0

    async def attempt(call: Callable[[], Any]) -> Any:
        nonlocal full
        try:
            return await call()
        except StoreFull:
            full += 1
            return None

    for _ in range(30):
        await attempt(lambda: desk.claim(limit=1, holder=B))
        await attempt(lambda: desk.extend(B))
        await attempt(lambda: desk.finish("q.0"))
    states = [await desk.state(f"q.{n}") for n in range(10)]
    assert set(states) <= {"succeeded", "running", "ready"}
    filler.unlink()
    assert await desk.finish("q.0", "q.1", "q.2") == []
    held = set(await desk.ids(holder=B)) | {id for id in desk.deliveries if id not in {"q.0", "q.1", "q.2"}}
    assert held == {f"q.{n}" for n in range(3, 10)}
    stats = await desk.stats("q")
    assert (stats.depth, stats.running) == (7, 7)
    assert look(disk / "jobs.db", "pragma integrity_check") == [("ok",)]


async def test_reads_work_on_a_full_disk(desk: Desk, disk: Path) -> None:
    await brim(desk, disk)
    assert (await desk.stats("q")).depth == 10
    assert (await desk.store.count(Query(queue="q"))) == {"running": 3, "ready": 7}
    assert (await desk.record("q.0")).state == "running"
    (disk / "filler").unlink()


async def test_the_space_of_the_log_is_used_again_on_a_full_disk(disk: Path) -> None:
    """With room in the file, short jobs go on for ever on a disk that has none: the log begins again in its place."""
    desk = made(disk / "jobs.db")
    await desk.store.open()
    await desk.store.close()
    look(disk / "jobs.db", "create table old(x); insert into old values(zeroblob(600000)); drop table old")
    await desk.store.open()
    for n in range(20):
        await desk.publish(f"log.{n}")
    filler = fill(disk)
    for n in range(200):
        assert await desk.publish(f"q.{n}") == [ACCEPTED]
        assert await desk.ids() == [f"q.{n}"]
        assert await desk.finish(f"q.{n}") == []
    filler.unlink()
    await desk.store.close()
    assert look(disk / "jobs.db", "pragma integrity_check") == [("ok",)]


async def test_a_log_that_cannot_be_moved_stays_and_is_moved_later(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The checkpoint needs room in the file: what is in the log stays there, and nothing is lost with it."""
    desk = made(disk / "jobs.db", Tuning(idle=0.02, log_kept=0, retention=3600))
    await desk.store.open()
    await desk.publish("q.0")
    await until(lambda: (disk / "jobs.db-wal").stat().st_size == 0, "the log is empty")
    filler = fill(disk)
    with filler.open("r+b") as room:
        room.truncate(filler.stat().st_size - 300_000)
    await desk.publish(*(f"q.{n}" for n in range(1, 200)), args={"text": "x" * 900})
    await until(lambda: "could not be restarted" in caplog.text, "the log did not fit")
    assert (await desk.stats("q")).depth == 200
    filler.unlink()
    await until(lambda: (disk / "jobs.db-wal").stat().st_size == 0, "the log is empty again")
    assert (await desk.stats("q")).depth == 200
    await desk.store.close()
    assert look(disk / "jobs.db", "pragma integrity_check; select count(*) from job") == [("ok",), (200,)]


async def test_opening_on_a_full_disk_raises_store_full(disk: Path) -> None:
    filler = fill(disk)
    desk = made(disk / "jobs.db")
    with pytest.raises(StoreFull, match=r"of .*jobs\.db is full"):
        await desk.store.open()
    filler.unlink()
    await desk.store.open()
    await desk.publish("q.1")
    await desk.store.close()
    fill(disk)
    with pytest.raises(StoreFull, match=r"of .*jobs\.db is full"):
        await desk.store.open()
    filler.unlink()
    await desk.store.open()
    assert await desk.ids() == ["q.1"]
    await desk.store.close()


async def test_a_read_only_folder_is_reported_and_the_file_stays(disk: Path) -> None:
    desk = made(disk / "jobs.db")
    with read_only(disk), pytest.raises(StoreUnavailable, match=r"jobs\.db.*may this user write there"):
        await desk.store.open()
    await desk.store.open()
    await desk.publish("q.1")
    await desk.store.close()
    before = (disk / "jobs.db").read_bytes()
    with read_only(disk), pytest.raises(StoreUnavailable, match=r"jobs\.db: Read-only file system: .*may this user"):
        await desk.store.open()
    assert (disk / "jobs.db").read_bytes() == before


async def test_a_tmpfs_promises_less(disk: Path, tmp_path: Path) -> None:
    assert made(disk / "jobs.db").store.capabilities.durability == "process-crash"


async def test_a_backup_to_a_full_disk_leaves_nothing_behind(disk: Path, tmp_path: Path) -> None:
    desk = made(tmp_path / "jobs.db")
    await desk.store.open()
    await desk.publish(*(f"q.{n}" for n in range(3000)), args={"text": "x" * 2000})
    store = desk.store
    assert isinstance(store, SqliteStore)
    with pytest.raises(StoreFull, match=r"the disk of .*disk/copy\.db is full"):
        await store.backup(str(disk / "copy.db"))
    assert list(disk.iterdir()) == []
    assert (await desk.stats()).depth == 3000
    await desk.store.close()


async def grown(path: Path, jobs: int = 2000) -> None:
    """Make a file of so many jobs, and close it."""
    desk = made(path)
    await desk.store.open()
    await desk.publish(*(f"q.{n}" for n in range(jobs)), args={"text": "x" * 500})
    await desk.store.close()


def _go(process: Any) -> None:
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()


async def test_publishers_and_a_worker_on_a_disk_that_fills_up_lose_nothing(disk: Path, tmp_path: Path) -> None:
    """Three processes fill the disk; each gets an error; space returns and they continue; file and journals agree."""
    path = disk / "jobs.db"
    await grown(path, jobs=0)  # the process that makes the file needs room for its schema twice
    for ballast in ("publishers", "worker"):
        (disk / ballast).write_bytes(b"\0" * 1_850_000)
    processes = [
        start("publisher", path, tmp_path / "p1.journal", "p1"),
        start("publisher", path, tmp_path / "p2.journal", "p2"),
        start("worker", path, tmp_path / "w.journal", "w"),
    ]
    try:
        for process in processes:
            _go(process)
        await until(lambda: len(journals(tmp_path, "full")) >= 5, "the disk is full")
        assert [process.poll() for process in processes] == [None] * 3
        assert all("is full: free some space; no accepted job is lost" in line for line in journals(tmp_path, "full"))
        accepted, finished = len(journals(tmp_path, "accepted")), len(journals(tmp_path, "finished"))
        (disk / "publishers").unlink()
        await until(lambda: len(journals(tmp_path, "accepted")) > accepted + 5, "publishers go on")
        for process in processes[:2]:
            process.kill()
            process.wait()
        # They may have filled the disk again before that: the worker has room of its own.
        (disk / "worker").unlink()
        await until(lambda: len(journals(tmp_path, "finished")) > finished + 5, "the worker goes on")
        assert processes[2].poll() is None
    finally:
        for process in processes:
            process.kill()
            process.communicate()

    room = tmp_path / "roomy.db"
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{room}{suffix}")
    assert look(room, "pragma integrity_check") == [("ok",)]
    kept = {str(id) for (id,) in look(room, "select id from job")}
    assert {id for line in journals(tmp_path, "accepted") for id in line.split()} <= kept
    last = start("worker", room, tmp_path / "last.journal", "last", count=10)
    _go(last)
    last.communicate()
    assert look(room, "select state, count(*) from job group by 1") == [(10, len(kept))]
    ended = [line.split()[0] for line in journals(tmp_path, "finished")]
    assert len(ended) == len(set(ended))
    assert set(ended) <= kept


async def test_a_damaged_file_is_named_with_what_to_do_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await grown(path)
    data = bytearray(path.read_bytes())
    for page in range(60, len(data) // 4096 - 5):  # behind the pages of the schema
        data[page * 4096 : page * 4096 + 2000] = b"\xa5" * 2000
    path.write_bytes(data)
    desk = made(path)
    await desk.store.open()
    for call in (desk.claim, lambda: desk.store.find(Query()), lambda: desk.publish(*(f"q.{n}" for n in range(2500)))):
        with pytest.raises(StoreCorrupt, match=r"jobs\.db is damaged.*restore the newest backup.*\.recover"):
            await call()
    await desk.store.close()
    assert path.read_bytes() == bytes(data)


async def test_a_damaged_first_page_is_refused_at_opening(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await grown(path)
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xa5" * 3996
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"jobs\.db is damaged"):
        await made(path).store.open()
    assert path.read_bytes() == bytes(data)


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
async def test_a_damaged_log_gives_what_was_whole_before_the_damage(tmp_path: Path, damage: str) -> None:
    """As after a power cut on a disk that lied: a whole transaction is there or not, in their order."""
    path = tmp_path / "jobs.db"
    desk = made(path)
    await desk.store.open()
    for n in range(200):
        await desk.publish(f"q.a{n}", f"q.b{n}")
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    await desk.store.close()
    log = Path(f"{copy}-wal")
    data = bytearray(log.read_bytes())
    middle = len(data) // 2
    log.write_bytes(data[:middle] if damage == "cut" else data[:middle] + b"\xa5" * 50 + data[middle + 50 :])
    other = made(copy)
    await other.store.open()
    there = {str(id) for (id,) in look(copy, "select id from job")}
    assert 20 < len(there) < 380
    assert there == {f"q.{half}{n}" for n in range(len(there) // 2) for half in "ab"}
    assert (await other.stats()).depth == len(there)
    assert look(copy, "pragma integrity_check") == [("ok",)]
    assert await other.publish("q.a199") == [ACCEPTED]
    await other.store.close()


async def test_a_backup_of_a_file_in_use_holds_all_that_was_accepted_before(tmp_path: Path) -> None:
    path, copy = tmp_path / "jobs.db", tmp_path / "copy.db"
    process = start("publisher", path, tmp_path / "p.journal", "p")
    _go(process)
    store = SqliteStore(str(path), clock=SystemClock())
    try:
        await until(lambda: len(journals(tmp_path, "accepted")) > 50, "a publisher publishes")
        await store.open()
        before = {id for line in journals(tmp_path, "accepted") for id in line.split()}
        await store.backup(str(copy))
        count = len(journals(tmp_path, "accepted"))
        await until(lambda: len(journals(tmp_path, "accepted")) > count, "the publisher goes on")
    finally:
        process.kill()
        process.communicate()
    assert look(copy, "pragma integrity_check") == [("ok",)]
    ids = {str(id) for (id,) in look(copy, "select id from job")}
    assert before <= ids
    assert look(copy, "select depth from queue") == [(len(ids),)]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(StoreError, match=r"copy\.db exists: name a new file, a backup never overwrites"):
        await store.backup(str(copy))
    await store.close()
    desk = made(copy)
    await desk.store.open()
    assert len(await desk.ids(limit=7)) == 7
    await desk.apply(Prune())
    await asyncio.gather(desk.publish("q.new"), desk.stats())
    await desk.store.close()
