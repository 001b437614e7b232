"""A store whose file was moved, removed or replaced refuses every call, and does not touch the file that is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from outlast.brokers.sqlite.tuning import Tuning
from outlast.core.errors import StoreError, StoreMoved
from outlast.core.settlement import Note
from outlast.core.store.control import Cancel, Prune
from outlast.core.store.records import Query
from outlast.core.topology import Topology
from outlast.testing.clock import FakeClock
from tests.support.jobs import A, Desk
from tests.support.polling import until
from tests.support.sqlite_file import look

BUSY = Tuning(idle=0.05, retention=0.05, log_pages=1, log_limit=2)
"""The tidier and the checkpoints work all the time."""


async def opened(path: Path, tuning: Tuning | None = None) -> Desk:
    clock = FakeClock()
    desk = Desk(SqliteStore(str(path), clock=clock, tuning=tuning), clock)
    await desk.store.open()
    return desk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
async def desk(path: Path) -> AsyncIterator[Desk]:
    """A store of five jobs, two of them running."""
    desk = await opened(path)
    await desk.publish(*(f"q.{n}" for n in range(5)))
    await desk.claim(limit=2)
    yield desk
    await desk.store.close()


def move_away(path: Path) -> None:
    for each in path.parent.glob("jobs.db*"):
        if each.is_file():
            each.rename(each.with_name(f"old-{each.name}"))


def ids(path: Path) -> set[object]:
    return {id for (id,) in look(path, "select id from job")}


CALLS: dict[str, Callable[[Desk], Any]] = {
    "publish": lambda desk: desk.publish("q.new"),
    "claim": lambda desk: desk.claim(),
    "settle": lambda desk: desk.finish("q.0"),
    "extend": lambda desk: desk.store.extend(A, lease=10),
    "save": lambda desk: desk.store.save([Note(desk.fence("q.0"), "progress", b"1")]),  # type: ignore[arg-type]
    "forfeit": lambda desk: desk.store.forfeit(A, crashed=False),
    "declare": lambda desk: desk.store.declare(Topology()),
    "stats": lambda desk: desk.store.stats([]),
    "get": lambda desk: desk.store.get(["q.0"]),
    "find": lambda desk: desk.store.find(Query()),
    "count": lambda desk: desk.store.count(Query()),
    "wait": lambda desk: desk.store.wait(["q.0"], 0),
    "cancel": lambda desk: desk.store.apply([Cancel("q.4")]),
    "prune": lambda desk: desk.store.apply([Prune()]),
    "schedules": lambda desk: desk.store.schedules(),
    "backup": lambda desk: desk.store.backup("copy.db"),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("call", CALLS)
async def test_each_call_is_refused(desk: Desk, path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    path.rename(path.with_name("old.db"))
    for _ in range(2):
        with pytest.raises(StoreMoved, match=r"jobs\.db was moved or removed .* outlast restore BACKUP"):
            await CALLS[call](desk)
    assert not Path("copy.db").exists()
    assert not path.exists()


async def test_what_was_accepted_before_is_in_the_file_that_was_moved(desk: Desk, path: Path) -> None:
    await desk.publish("q.last")
    move_away(path)
    with pytest.raises(StoreMoved):
        await desk.publish("q.late")
    await desk.store.close()
    assert {f"q.{n}" for n in range(5)} | {"q.last"} <= ids(path.with_name("old-jobs.db"))


async def test_an_idle_process_notices(desk: Desk, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    move_away(path)
    await until(lambda: "was moved or removed" in caplog.text, "it is logged")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("wait", ["claim", "wait"])
async def test_a_call_that_waits_is_refused(desk: Desk, path: Path, wait: str) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "claim": lambda: desk.store.claim({"other": 1}, limit=1, holder=A, lease=600, wait=600),
        "wait": lambda: desk.store.wait(["q.0"], 600),
    }
    call = asyncio.ensure_future(calls[wait]())
    await asyncio.sleep(0)
    move_away(path)
    with pytest.raises(StoreMoved):
        await call


async def test_the_file_that_took_its_place_is_not_touched(path: Path, tmp_path: Path) -> None:
    """With its tidier and its checkpoints at work, and while it closes: it still has the old log open."""
    desk = await opened(path, BUSY)
    await desk.publish(*(f"q.{n}" for n in range(200)))
    await desk.store.backup(str(tmp_path / "backup.db"))  # type: ignore[attr-defined]
    await desk.publish(*(f"q.late{n}" for n in range(200)))
    (tmp_path / "backup.db").rename(path)
    with pytest.raises(StoreMoved):
        await desk.publish("q.lost")
    new = await opened(path, BUSY)
    await new.publish("q.new")
    await desk.store.close()
    await new.publish("q.newer")
    await new.store.close()
    assert look(path, "pragma integrity_check") == [("ok",)]
    assert ids(path) == {f"q.{n}" for n in range(200)} | {"q.new", "q.newer"}


@pytest.mark.parametrize("names", [["-wal"], ["-wal", "-shm"]])
async def test_the_jobs_of_a_log_that_was_removed_are_moved_into_the_file(
    desk: Desk, path: Path, names: list[str]
) -> None:
    await desk.publish(*(f"q.more{n}" for n in range(300)))
    for name in names:
        path.with_name(f"jobs.db{name}").unlink()
    with pytest.raises(StoreMoved, match="-wal was moved or removed"):
        await desk.publish("q.late")
    await desk.store.close()
    assert look(path, "pragma integrity_check") == [("ok",)]
    assert {f"q.{n}" for n in range(5)} | {f"q.more{n}" for n in range(300)} <= ids(path)


async def test_the_log_of_another_process_is_not_mixed_with_one_that_was_removed(desk: Desk, path: Path) -> None:
    path.with_name("jobs.db-wal").unlink()
    path.with_name("jobs.db-wal").touch()
    before = path.read_bytes()
    with pytest.raises(StoreMoved, match="-wal was replaced by another file"):
        await desk.publish("q.late")
    await desk.store.close()
    assert path.read_bytes() == before


async def test_a_store_can_be_opened_again_in_the_same_process(desk: Desk, path: Path) -> None:
    move_away(path)
    with pytest.raises(StoreMoved):
        await desk.publish("q.lost")
    await desk.store.close()
    await desk.store.open()
    await desk.publish("q.new")
    assert ids(path) == {"q.new"}


async def test_a_backup_that_is_in_progress_when_the_file_is_replaced_is_none(desk: Desk, path: Path) -> None:
    path.rename(path.with_name("old.db"))
    with pytest.raises(StoreMoved):
        await desk.store.backup(str(path.with_name("copy.db")))  # type: ignore[attr-defined]
    assert list(path.parent.glob("copy.db*")) == []


async def test_a_copy_is_a_store_of_its_own(desk: Desk, path: Path) -> None:
    """A fence of the copy is never one of the first file: a late report would count there."""
    copy = path.with_name("copy.db")
    await desk.store.backup(str(copy))  # type: ignore[attr-defined]
    assert look(copy, "select id from file") != look(path, "select id from file")
    (given,) = await desk.claim(limit=1)
    other = await opened(copy)
    (again,) = await other.claim(limit=1)
    assert again.message.id == given.message.id
    assert again.fence.token > given.fence.token + 1_000_000
    await other.store.close()


async def test_two_stores_that_share_a_file_both_notice(path: Path) -> None:
    stores = [SqliteStore(str(path), clock=SystemClock()) for _ in range(2)]
    for store in stores:
        await store.open()
    path.unlink()
    for store in stores:
        with pytest.raises(StoreError, match="was moved or removed"):
            await store.stats([])
        await store.close()
