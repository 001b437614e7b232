"""Successors in a file that code of schema 1 works on too: it ends their holders and promotes none of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from outlast.brokers.sqlite import SqliteStore
from outlast.core.settlement import ACCEPTED, Accepted, Exists
from outlast.core.store.control import Purge
from outlast.core.unique import Unique
from outlast.testing.clock import FakeClock
from tests.support.jobs import B, Desk

NEW = Unique("k", replace=True)
# What code of schema 1 does, as statements.
ENDED = "update job set state = 10, at = 9e9, finished_at = 1, uniq = null where id = ?"
PURGED = "update job set state = 12, at = 9e9, body = null, uniq = null where id = ?"
PUT_BACK = "update job set state = 0, reason = null where id = ?"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock)
    await store.open()
    desk = Desk(store, clock)
    await desk.publish("q.1", unique="k")
    await desk.claim(lease=1e6)
    await desk.publish("q.2", unique=NEW)
    yield desk
    await store.close()


def of_schema_1(tmp_path: Path, statement: str, id_: str) -> None:
    with apsw.Connection(str(tmp_path / "jobs.db")) as db:
        db.execute(statement, (id_,))
    db.close()


async def test_the_next_claim_promotes_what_was_left_behind(desk: Desk, tmp_path: Path) -> None:
    of_schema_1(tmp_path, ENDED, "q.1")
    assert await desk.state("q.2") == "waiting"
    assert await desk.ids(holder=B) == ["q.2"]
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]


async def test_a_claim_that_waits_promotes_it_within_a_look(desk: Desk, tmp_path: Path) -> None:
    waiting = asyncio.create_task(desk.claim(holder=B, wait=60))
    await desk.extend(B)  # the claim has looked once
    of_schema_1(tmp_path, ENDED, "q.1")
    assert [each.message.id for each in await waiting] == ["q.2"]


async def test_the_end_of_the_holder_wakes_a_claim_without_a_poll(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast.brokers.sqlite.store.POLL", 1e6)
    waiting = asyncio.create_task(desk.claim(holder=B, wait=1e6))
    await desk.extend(B)  # the claim has looked once
    await desk.finish("q.1")
    assert [each.message.id for each in await waiting] == ["q.2"]


async def test_the_next_enqueue_meets_it(desk: Desk, tmp_path: Path) -> None:
    of_schema_1(tmp_path, ENDED, "q.1")
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]
    assert await desk.publish("q.3", unique=NEW) == [Accepted("q.2")]


async def test_it_yields_to_a_newer_job_that_has_the_key(desk: Desk, tmp_path: Path) -> None:
    await desk.publish("q.3")
    of_schema_1(tmp_path, ENDED, "q.1")
    of_schema_1(tmp_path, "update job set uniq = 'k' where id = ?", "q.3")
    assert await desk.ids(holder=B) == ["q.3"]
    record = await desk.record("q.2")
    assert (record.state, record.reason) == ("cancelled", "replaced")


@pytest.mark.parametrize("change", [PURGED, PUT_BACK])
async def test_what_it_waits_for_no_longer_keeps_no_other_out(desk: Desk, tmp_path: Path, change: str) -> None:
    of_schema_1(tmp_path, change, "q.2")
    assert (await desk.stats()).successors == 0
    assert await desk.publish("q.3", unique=NEW) == [ACCEPTED]
    assert await desk.publish("q.4", unique=NEW) == [Accepted("q.3")]
    await desk.finish("q.1")
    assert await desk.ids(holder=B) == (["q.2", "q.4"] if change is PUT_BACK else ["q.4"])


async def test_a_row_without_a_successor_costs_no_index(desk: Desk, tmp_path: Path) -> None:
    await desk.do(Purge(id="q.2"))
    with apsw.Connection(str(tmp_path / "jobs.db")) as db:
        assert db.execute("select count(*) from job where uniq_next is not null").get == 0
        plan = db.execute(
            "explain query plan select id from job where queue = 1 and uniq_next = 'k' and state = 3"
        ).fetchall()
    db.close()
    assert "job_next" in str(plan)
