"""The SQLite file over time: a bounded log, a file that shrinks, jobs that are forgotten, one sync a commit."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast.brokers.sqlite import SqliteStore
from outlast.brokers.sqlite.tuning import Tuning
from outlast.clients.sqlite import checkpointer
from outlast.core.settlement import Exists, Note, Reschedule
from outlast.core.store.control import Prune, Purge
from outlast.core.store.records import Query
from outlast.testing.clock import FakeClock
from tests.support.jobs import LEASE, A, B, C, Desk, failure, raw
from tests.support.polling import until
from tests.support.sqlite_file import locked, log_pages, look
from tests.support.sqlite_process import ROOT

SMALL = Tuning(idle=0.05, retention=0.05, log_pages=20, log_limit=60, log_kept=10, vacuum_pages=5)
DAY = 24 * 3600.0


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A fresh SQLite store that tidies up early."""
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock, tuning=SMALL)
    await store.open()
    yield Desk(store, clock)
    await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file."""
    return tmp_path / "jobs.db"


def log_size(path: Path) -> int:
    """Return the pages that the log's file has room for."""
    return path.with_name("jobs.db-wal").stat().st_size // (4096 + 24)


async def churn(desk: Desk, name: str, turns: int) -> None:
    """Publish, claim and finish one job a turn."""
    for n in range(turns):
        await desk.publish(f"{name}.{n}")
        await desk.claim(name)
        await desk.finish(f"{name}.{n}")


async def test_the_log_stays_bounded_while_others_read_and_write(
    desk: Desk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stores write without a pause and readers never stop; the log is restarted again and again."""
    monkeypatch.setattr(checkpointer, "PATIENCE", 60.0)  # on a busy machine a reader may hold the log for longer
    other = Desk(SqliteStore(str(path), clock=desk.clock, tuning=SMALL), desk.clock)
    await other.store.open()
    writing = asyncio.gather(churn(desk, "a", 150), churn(other, "b", 150))
    biggest = 0
    while not writing.done():
        await asyncio.gather(desk.store.count(Query()), other.store.stats([]), desk.store.find(Query()))
        biggest = max(biggest, log_pages(path))
    await writing
    assert biggest <= 4 * SMALL.log_limit
    assert log_size(path) <= 4 * SMALL.log_limit
    await other.store.close()


async def test_a_reader_that_stays_stops_no_writer(desk: Desk, path: Path) -> None:
    """An old read blocks the log's restart: the log grows, every commit works, and afterwards it is short again."""
    await churn(desk, "q", 5)
    with locked(path, "begin; select * from job"):
        await churn(desk, "r", 100)
        assert log_pages(path) > 2 * SMALL.log_limit
    await churn(desk, "s", 30)
    assert log_pages(path) < 2 * SMALL.log_limit
    assert (await desk.stats("r")).depth == 0


async def test_a_store_at_rest_empties_its_log(desk: Desk, path: Path) -> None:
    await churn(desk, "q", 10)
    assert log_size(path) > SMALL.log_kept
    await until(lambda: log_size(path) == 0, "the log's file is empty")


async def test_the_file_shrinks_after_a_purge(desk: Desk, path: Path) -> None:
    await desk.publish(*(f"q.{n}" for n in range(3000)), args={"text": "x" * 1000})
    await until(lambda: log_size(path) == 0, "all is in the file")
    full = path.stat().st_size
    assert (await desk.do(Purge(queue="q"))).changed == 3000
    await until(lambda: path.stat().st_size < full / 5, "free pages went back to the disk")
    assert look(path, "pragma integrity_check") == [("ok",)]


@pytest.mark.parametrize("way", ["cap", "time"])
async def test_tombstones_of_ended_jobs_need_little_space(desk: Desk, path: Path, way: str) -> None:
    """Only ids are remembered, and the room of the bodies is used again, or goes back to the disk."""
    await desk.declare("q", records=10 if way == "cap" else 10_000, record_ttl=3600.0)
    ids = [f"q.{n}" for n in range(1000)]
    await desk.publish(*ids, args={"text": "x" * 1000})
    await until(lambda: log_size(path) == 0, "all is in the file")
    full = path.stat().st_size
    await desk.claim(limit=1000)
    await desk.finish(*ids)
    desk.clock.advance(3601)
    await desk.apply(Prune())
    assert look(path, "select count(*), sum(body is null) from job") == [(1000, 1000)]
    await until(lambda: path.stat().st_size < full / 3, "the file is shorter")


async def test_ids_are_remembered_for_their_time_and_then_forgotten(desk: Desk, path: Path) -> None:
    await desk.declare("q", records=2, record_ttl=3600.0, id_memory=DAY)
    await desk.run(*(f"q.{n}" for n in range(5)))
    await desk.apply(Prune())
    assert look(path, "select count(*), sum(body is null) from job") == [(5, 3)], "over the cap only ids are kept"
    assert await desk.publish("q.0") == [Exists("q.0", "id")]
    desk.clock.advance(3601)
    await desk.apply(Prune())
    assert look(path, "select count(*), sum(body is null) from job") == [(5, 5)], "past their time only ids are kept"
    assert await desk.publish("q.4") == [Exists("q.4", "id")]
    desk.clock.advance(DAY)
    assert (await desk.do(Prune())).changed == 5
    assert look(path, "select count(*) from job") == [(0,)]
    assert look(path, "select depth, records, dead from queue") == [(0, 0, 0)]


async def test_retention_continues_in_a_store_that_is_never_idle(desk: Desk, path: Path) -> None:
    await desk.run(*(f"q.{n}" for n in range(5)))
    desk.clock.advance(3 * DAY)

    async def forgotten() -> bool:
        await desk.claim()  # as a worker does, without end
        return look(path, "select count(*) from job") == [(0,)]

    await until(forgotten, "jobs of three days ago are forgotten")


async def test_holders_that_are_long_gone_are_forgotten(desk: Desk, path: Path) -> None:
    async def known_after(seconds: float) -> list[str]:
        desk.clock.advance(seconds)
        await desk.claim("elsewhere", holder=C)
        await desk.apply(Prune())
        return sorted(str(id) for (id,) in look(path, "select id from holder"))

    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.claim("elsewhere", holder=B)
    assert await known_after(LEASE + 1) == [A.id, B.id, C.id]
    assert await known_after(1800.0) == [A.id, B.id, C.id]
    assert look(path, "select id from lost") == [("q.1",)]
    assert await known_after(1801.0) == [C.id]
    assert look(path, "select * from lost") == []


async def test_what_is_above_a_cap_leaves_no_failure_and_no_note(desk: Desk, path: Path) -> None:
    await desk.declare("q", records=1)
    for id in ("q.1", "q.2"):
        await desk.publish(id)
        await desk.claim()
        await desk.settle(Reschedule(desk.fence(id), desk.clock.time(), 2, error=failure()))
        await desk.claim()
        await desk.store.save([Note(desk.fence(id), "progress", raw(1))])
        await desk.finish(id)
    for table in ("failure", "note"):
        assert look(path, f"select id, count({table}.job) from job left join {table} on job = seq group by id") == [
            ("q.1", 0),
            ("q.2", 1),
        ]


STRACED = """
import asyncio, sys
from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from outlast.core.message import Holder
from outlast.core.settlement import Finish
from tests.support.jobs import message

async def main(path):
    clock = SystemClock()
    store = SqliteStore(path, clock=clock)
    await store.open()
    holder = Holder("h" * 32)
    await store.publish([message("q.warm", clock.time())])
    await store.claim({"q": 1}, limit=1, holder=holder, lease=10, wait=0)
    sys.stderr.flush()
    open(path + ".begin", "w").close()
    for n in range(25):
        await store.publish([message(f"q.{n}", clock.time())])
    given = await store.claim({"q": 10}, limit=10, holder=holder, lease=10, wait=0)
    await store.settle([Finish(each.fence, "succeeded") for each in given])
    await store.extend(holder, lease=10)
    for n in range(10):
        await store.claim({"r": 10}, limit=10, holder=holder, lease=10, wait=0)
    for n in range(10):
        await store.claim({"r": 10}, limit=10, holder=holder, lease=10, wait=0)
    open(path + ".end", "w").close()
    await store.close()

asyncio.run(main(sys.argv[1]))
"""


def test_each_commit_syncs_the_disk_exactly_once(tmp_path: Path) -> None:
    """25 publishes, a claim, a settlement, a renewal and the first claim on another queue: 29 commits, 29 syncs."""
    path, trace = tmp_path / "jobs.db", tmp_path / "trace"
    calls = "trace=fsync,fdatasync,openat,msync,sync_file_range"
    subprocess.run(
        ["strace", "-f", "-qq", "-y", "-e", calls, "-o", str(trace), sys.executable, "-c", STRACED, str(path)],
        cwd=ROOT,
        check=True,
    )
    lines = trace.read_text().split("\n")
    begin = next(n for n, line in enumerate(lines) if "jobs.db.begin" in line)
    end = next(n for n, line in enumerate(lines) if "jobs.db.end" in line)
    synced = [line for line in lines[begin:end] if re.search(r"\b(fsync|fdatasync)\(", line)]
    assert len(synced) == 29
    assert all("jobs.db-wal>" in line for line in synced)
