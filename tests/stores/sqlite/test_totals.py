"""Totals in the file: files and code of earlier schemas, a transaction that is undone, and copies of the file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import apsw
import pytest

from outlast.brokers.sqlite.statements import migrations, open_store
from outlast.brokers.sqlite.store import SqliteStore
from outlast.brokers.sqlite.tuning import Tuning
from outlast.core.errors import OutlastError
from outlast.core.settlement import Finish
from outlast.core.topology import Queue, Topology
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk

WITHOUT_TOTALS = {number: script for number, script in migrations().items() if number < 6}
TOPOLOGY = Topology((Queue(name="q"),), "shop", kinds_of={"q": ("send", "render")})


def desk_of(tmp_path: Path, clock: FakeClock) -> Desk:
    return Desk(SqliteStore(str(tmp_path / "jobs.db"), clock=clock), clock)


async def ended(desk: Desk) -> dict[tuple[str, str, str], int]:
    return {of: count for of, count in (await desk.store.totals()).items() if count}


def accepted_by_old_code(db: apsw.Connection, id: str, now: float) -> None:
    """Write a job as code of schema 5 does."""
    db.execute(
        "insert into job(id, queue, state, rank, kind, enqueued_at, run_at, priority, body) "
        "values(?, (select queue from queue where name = 'q'), 0, 0, 'send', ?, ?, 1, '{}')",
        (id, now, now),
    )
    db.execute("update queue set depth = depth + 1 where name = 'q'")


async def test_a_file_of_the_schema_before_is_used_on_by_both_codes(tmp_path: Path) -> None:
    path, clock = str(tmp_path / "jobs.db"), FakeClock()
    old = open_store(path, Tuning(), steps=WITHOUT_TOTALS)
    old.execute(
        "insert into queue(name, app, record_ttl, records_kept, dead_ttl, id_memory) "
        "values('q', 'shop', 86400, 10000, 2592000, 86400)"
    )
    accepted_by_old_code(old, "q.1", clock.time())
    desk = desk_of(tmp_path, clock)
    await desk.store.open()
    assert await desk.store.totals() == {}
    await desk.store.declare(TOPOLOGY)
    assert await desk.ids() == ["q.1"]
    assert await desk.finish("q.1", kind="send") == []
    accepted_by_old_code(old, "q.2", clock.time())  # it was open all the time
    old.close()
    old = open_store(path, Tuning(), steps=WITHOUT_TOTALS)  # and is opened again
    accepted_by_old_code(old, "q.3", clock.time())
    old.execute("update job set state = 10, at = 1e10 where id = 'q.3'")  # what it ends, it does not count
    old.execute("update queue set depth = depth - 1, records = records + 1 where name = 'q'")
    old.close()
    assert await desk.ids() == ["q.2"]
    assert await desk.finish("q.2") == []
    assert await ended(desk) == {("q", "send", "succeeded"): 2}
    await desk.store.close()


async def test_what_is_undone_with_its_transaction_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two calls in a transaction fails: each is made again in one of its own."""
    desk = desk_of(tmp_path, FakeClock())
    await desk.store.open()
    await desk.store.declare(TOPOLOGY)
    await desk.publish("q.1", kind="render")
    await desk.publish("q.2")
    await desk.ids()
    wrong: Any = Finish(desk.fence("q.2"), "succeeded", result=object())  # type: ignore[arg-type]
    answers = await asyncio.gather(
        desk.settle(Finish(desk.fence("q.1"), "dead", "why")), desk.settle(wrong), return_exceptions=True
    )
    assert answers[0] == []
    assert isinstance(answers[1], (TypeError, OutlastError))
    assert await ended(desk) == {("q", "render", "dead"): 1}
    await desk.store.close()


async def test_a_backup_has_the_totals_of_its_moment(tmp_path: Path) -> None:
    clock = FakeClock()
    desk = desk_of(tmp_path, clock)
    await desk.store.open()
    await desk.store.declare(TOPOLOGY)
    await desk.run("q.1")
    store: Any = desk.store
    await store.backup(str(tmp_path / "copy.db"))
    await desk.run("q.2")
    copy = Desk(SqliteStore(str(tmp_path / "copy.db"), clock=clock), clock)
    await copy.store.open()
    assert await ended(copy) == {("q", "send", "succeeded"): 1}
    assert await ended(desk) == {("q", "send", "succeeded"): 2}
    await copy.store.close()
    await desk.store.close()
