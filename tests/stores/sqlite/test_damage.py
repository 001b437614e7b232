"""Values in the file that Outlast did not write: they stop only their own job, or are repaired."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from outlast.brokers.sqlite.findings import of_records
from outlast.brokers.sqlite.inspection import examine, waiting_kinds
from outlast.brokers.sqlite.store import SqliteStore
from outlast.brokers.sqlite.tuning import Tuning
from outlast.core.exchanges.values import Binding, Exchange
from outlast.core.guards.record import commanded
from outlast.core.schedule import ScheduleEntry, Spec
from outlast.core.settlement import Accepted, Exists, Note
from outlast.core.store.control import Cancel, Edit, Purge, Redrive
from outlast.core.store.records import Query
from outlast.core.topology import Queue, Topology
from outlast.core.unique import Unique
from outlast.testing.clock import FakeClock
from tests.faults.proofs.damage import damage, vandalize_file
from tests.support.binding_damage import BAD, is_declared_again
from tests.support.guard_damage import begins_again
from tests.support.jobs import B, Desk, failure, raw
from tests.support.polling import until
from tests.support.schedule_damage import stands_alone

NOT_TEXT = "cast(x'7b22ff227d' as text)"


@pytest.fixture
async def desk(tmp_path: Path) -> Any:
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock)
    await store.open()
    yield Desk(store, clock)
    await store.close()


def change(tmp_path: Path, sql: str) -> None:
    """Write to the file as another program would."""
    with apsw.Connection(str(tmp_path / "jobs.db")) as db:
        db.execute(sql)


async def test_random_damage_stops_no_other_job(tmp_path: Path) -> None:
    def make(place: Path, clock: FakeClock) -> SqliteStore:
        return SqliteStore(str(place / "jobs.db"), clock=clock)

    report = await damage(make, vandalize_file, tmp_path, rounds=25, seconds=60, seed=1)
    assert (report.rounds > 0, report.faults) == (True, {})


@pytest.mark.parametrize(
    "change_of",
    ["meta = '{'", f"body = {NOT_TEXT}", "body = x'00'", "kind = x'ff'", "priority = 9", "enqueued_at = 'x'"],
)
async def test_a_claim_sets_it_aside_and_hands_out_the_others(
    desk: Desk, tmp_path: Path, change_of: str, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.publish("q.1", "q.bad", "q.2")
    change(tmp_path, f"update job set {change_of} where id = 'q.bad'")
    with caplog.at_level(logging.ERROR, "outlast.sqlite"):
        assert await desk.ids() == ["q.1", "q.2"]
    assert "q.bad" in caplog.text
    record = await desk.record("q.bad")
    assert (record.state, record.reason, record.args) == ("dead", "unreadable", {})
    assert "Unreadable" in [each.type for each in record.failures]
    stats = await desk.stats()
    assert (stats.depth, stats.running, stats.dead) == (2, 2, 1)
    page = await desk.store.find(Query(states=("dead",), reason="unreadable"))
    assert [each.id for each in page.records] == ["q.bad"]
    assert (await desk.do(Purge(id="q.bad"))).ok
    assert (await desk.stats()).dead == 0


async def test_a_job_with_new_arguments_runs_again(desk: Desk, tmp_path: Path) -> None:
    await desk.publish("q.bad")
    change(tmp_path, "update job set body = x'00'")
    assert await desk.ids() == []
    await desk.apply(Edit("q.bad", args=raw({"n": 1})), Redrive("q.bad"))
    assert await desk.ids() == ["q.bad"]


async def test_the_limits_of_a_queue_come_back_from_its_declaration(desk: Desk, tmp_path: Path) -> None:
    await desk.declare("q", concurrency=1)
    await desk.publish("q.1", "q.2", "r.1")
    change(tmp_path, "update queue set limits = '{' where name = 'q'")
    assert await desk.ids("q", "r") == ["q.1", "r.1"]
    stats = await desk.stats()
    assert (stats.paused, stats.held) == (False, "concurrency")


async def test_a_queue_without_its_limits_is_paused(desk: Desk, tmp_path: Path) -> None:
    await desk.declare("q", concurrency=1)
    await desk.publish("q.1", "r.1")
    change(tmp_path, "update queue set limits = '{', declared = x'00' where name = 'q'")
    assert await desk.ids("q", "r") == ["r.1"]
    assert (await desk.stats()).paused


async def test_counters_are_counted_again(desk: Desk, tmp_path: Path) -> None:
    await desk.run("q.dead", state="dead")
    await desk.publish("q.1", "q.2")
    change(tmp_path, "update queue set depth = 'x', dead = x'00'")
    stats = await desk.stats()
    assert (stats.depth, stats.dead) == (2, 1)


@pytest.mark.parametrize(
    "body", ["'{'", "x'00'", "cast(x'ff' as text)", "(select body from schedule where name = 'a')"]
)
async def test_a_schedule_that_cannot_be_read_stands_alone(
    desk: Desk, tmp_path: Path, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def spoil() -> None:
        change(tmp_path, f"update schedule set body = {body} where name = 'bad'")

    await stands_alone(desk, spoil)
    assert sum("'bad' cannot be read" in line for line in caplog.messages) == 2, "once for each time it was spoilt"


@pytest.mark.parametrize("change_of", ["state = -5", "state = 'x'", "queue = 99"])
async def test_a_store_at_rest_repairs_what_no_call_has_met(tmp_path: Path, change_of: str) -> None:
    """Such a job is found by no claim; until it is repaired the queue seems to have one job more."""
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock, tuning=Tuning(idle=0.02))
    await store.open()
    desk = Desk(store, clock)
    await desk.publish("q.1", "q.bad")
    change(tmp_path, f"update job set {change_of} where id = 'q.bad'")

    async def repaired() -> bool:
        return (await desk.stats()).depth == 1

    await until(repaired, "the depth is right")
    bad = await desk.record("q.bad")
    assert (bad.state, bad.reason) == ("dead", "unreadable")
    assert await totals_of(desk) == {("q", "other", "dead"): 1}
    await store.close()


@pytest.mark.parametrize("body", ["'{'", "x'00'", "cast(x'ff' as text)", "(select body from guard where name = 'a')"])
async def test_a_guard_whose_state_cannot_be_read_begins_again(desk: Desk, tmp_path: Path, body: str) -> None:
    async def spoil() -> None:
        change(tmp_path, f"update guard set body = {body} where name = 'bad'")

    await begins_again(desk, spoil)


@pytest.mark.parametrize(
    "body", ["'{'", "x'00'", "cast(x'ff' as text)", "(select body from binding where name <> '{BAD}')"]
)
async def test_a_binding_that_cannot_be_read_stops_only_its_queue(desk: Desk, tmp_path: Path, body: str) -> None:
    async def spoil() -> None:
        change(tmp_path, f"update binding set body = {body.replace('{BAD}', BAD)} where name = '{BAD}'")

    await is_declared_again(desk, spoil)


@pytest.mark.parametrize("version", ["'many'", "x'00'", "cast(x'ff' as text)", "-5", "1.5"])
async def test_a_version_of_the_bindings_that_is_no_number_is_replaced(
    desk: Desk, tmp_path: Path, version: str
) -> None:
    async def spoil() -> None:
        change(tmp_path, f"update store set bindings = {version}")
        change(tmp_path, f"update binding set body = '[]' where name = '{BAD}'")

    await is_declared_again(desk, spoil)


async def totals_of(desk: Desk) -> dict[tuple[str, str, str], int]:
    """Return the totals that are not 0."""
    return {of: count for of, count in (await desk.store.totals()).items() if count}


@pytest.mark.parametrize("damaged", ["meta = '{'", "body = x'00'", "priority = 9", "enqueued_at = 'x'"])
async def test_a_job_that_is_set_aside_or_repaired_counts_once_as_dead(
    desk: Desk, tmp_path: Path, damaged: str
) -> None:
    await desk.store.declare(Topology((Queue(name="q"),), kinds_of={"q": ("send",)}))
    await desk.run("q.done")
    await desk.publish("q.1", "q.bad")
    change(tmp_path, f"update job set {damaged} where id = 'q.bad'")
    assert await desk.ids() == ["q.1"]
    assert await desk.finish("q.1") == []
    assert await totals_of(desk) == {("q", "send", "succeeded"): 2, ("q", "send", "dead"): 1}


@pytest.mark.parametrize("kind", [NOT_TEXT, "x'ff'", "7"])
async def test_a_job_whose_kind_is_no_text_counts_among_the_others(desk: Desk, tmp_path: Path, kind: str) -> None:
    await desk.store.declare(Topology((Queue(name="q"),), kinds_of={"q": ("send",)}))
    await desk.publish("q.1", "q.bad")
    await desk.publish("q.gone", "q.left", delay=50)
    await desk.publish("q.2")
    assert await desk.ids() == ["q.1", "q.bad", "q.2"]
    change(tmp_path, f"update job set kind = {kind} where id in ('q.bad', 'q.gone', 'q.left')")
    assert await desk.finish("q.1", "q.bad", "q.2") == []
    assert (await desk.do(Cancel("q.gone"))).ok
    assert (await desk.do(Purge(id="q.left"))).ok
    assert await totals_of(desk) == {
        ("q", "send", "succeeded"): 2, ("q", "other", "succeeded"): 1, ("q", "other", "cancelled"): 2
    }  # fmt: skip


@pytest.mark.parametrize("state", ["state = -5", "state = 'x'", "state = 7"])
async def test_of_jobs_whose_state_is_damaged_those_count_that_had_not_ended(
    desk: Desk, tmp_path: Path, state: str
) -> None:
    await desk.store.declare(Topology((Queue(name="q"),), kinds_of={"q": ("send",)}))
    await desk.run("q.done")
    await desk.publish("q.bad", "q.gone")
    assert (await desk.do(Purge(id="q.gone"))).ok
    change(tmp_path, f"update job set {state}, priority = 'x'")
    change(tmp_path, "update queue set depth = 'x'")
    assert (await desk.stats()).depth == 0
    assert await totals_of(desk) == {
        ("q", "send", "succeeded"): 1, ("q", "send", "cancelled"): 1, ("q", "send", "dead"): 1
    }  # fmt: skip


async def test_the_totals_of_a_queue_whose_name_was_damaged_go_on_under_its_name(desk: Desk, tmp_path: Path) -> None:
    await desk.run("q.1")
    await desk.publish("q.2")
    change(tmp_path, "update queue set name = x'ff' where name = 'q'")
    assert await desk.ids() == []  # it makes the queue again
    await desk.run("q.3")
    change(tmp_path, "update queue set depth = 'x' where name = 'q'")
    await desk.stats()
    assert await totals_of(desk) == {("q", "other", "succeeded"): 2}


@pytest.mark.parametrize(
    ("value", "shown"), [("'x'", 2), ("x'ff'", 2), ("-3", 2), ("1e300", 2**63 - 1), ("9223372036854775807", 2**63 - 1)]
)
async def test_a_total_that_is_no_number_begins_again_and_stops_nothing(
    desk: Desk, tmp_path: Path, value: str, shown: int
) -> None:
    await desk.run("q.1")
    change(tmp_path, f"update total set succeeded = {value}")
    await desk.run("q.2", "q.3")
    found = await desk.store.totals()
    assert found["q", "other", "succeeded"] == shown
    assert found["q", "other", "dead"] == 0


NOT_UTF8 = "cast(x'ff' as text)"
TEXTS = [
    ("queue", "name"), ("queue", "app"), ("queue", "limits"), ("queue", "declared"), ("queue", "changes"),
    ("queue", "samples"), ("lane", "key"), ("holder", "id"), ("holder", "label"), ("holder", "boot"),
    ("holder", "queues"), ("holder", "loads"), ("job", "id"), ("job", "kind"), ("job", "uniq"), ("job", "reason"),
    ("job", "meta"), ("job", "result"), ("job", "body"), ("failure", "body"), ("note", "name"), ("note", "value"),
    ("schedule", "name"), ("schedule", "body"), ("guard", "name"), ("guard", "body"), ("exchange", "name"),
    ("exchange", "body"), ("binding", "name"), ("binding", "body"), ("total", "kind"),
]  # fmt: skip
"""The columns of text of the tables that a process reads when it opens the file."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a row in each table."""
    file = tmp_path_factory.mktemp("filled") / "jobs.db"

    async def fill() -> None:
        clock = FakeClock()
        desk = Desk(SqliteStore(str(file), clock=clock), clock)
        await desk.store.open()
        await _fill(desk)
        await desk.store.close()

    asyncio.run(fill())
    return file


@pytest.mark.parametrize(("table", "column"), TEXTS)
async def test_the_first_call_after_an_opening_reads_a_text_that_is_none(
    filled: Path, tmp_path: Path, table: str, column: str
) -> None:
    file = tmp_path / "jobs.db"

    async def read(store: SqliteStore) -> None:
        await store.find(Query())
        await store.schedules()
        await store.guards()
        await store.bindings()
        await store.totals()

    calls: list[Callable[[SqliteStore], Awaitable[object]]] = [
        lambda store: store.stats(()),
        lambda store: store.declare(FILLED),
        lambda store: store.claim({"q": 9, "a": 9}, limit=9, holder=B, lease=10, wait=0),
        read,
    ]
    for value in (NOT_UTF8, "x'ff'"):
        for call in calls:
            shutil.copy(filled, file)
            change(
                tmp_path, f"update {table} set {column} = {value} where {column} is (select max({column}) from {table})"
            )
            examine(str(file), FakeClock(monotonic=1e9))
            waiting_kinds(str(file))
            store = SqliteStore(str(file), clock=FakeClock())
            await store.open()
            await call(store)
            assert {type(name) for name in await store.stats(())} == {str}
            await store.close()


FILLED = Topology(
    (Queue(name="a"), Queue(name="q", concurrency=5)),
    "shop",
    exchanges=(Exchange(name="orders", type="fanout"),),
    bindings=(Binding(exchange="orders", queue="a", kind="send", parameter="order", app="shop"),),
    kinds_of={"a": ("send",)},
)


async def _fill(desk: Desk) -> None:
    """Put a row into each table."""
    await desk.store.declare(FILLED)
    await desk.publish("q.1", "q.2", key="k")
    await desk.publish("q.3", unique="u")
    await desk.claim("q")
    await desk.store.save([Note(desk.fence("q.1"), "progress", raw(3))])
    await desk.finish("q.2", state="dead", error=failure())
    entry = ScheduleEntry(name="s", app="shop", kind="clean", queue="q", spec=Spec(every=60), version="v1")
    await desk.store.enlist([entry])
    view = await desk.store.guards()
    await desk.store.swap([commanded(view.of("g"), "open", view.now)])


async def test_the_doctor_names_what_no_call_has_met(desk: Desk, tmp_path: Path) -> None:
    await desk.publish("q.1", "q.bad")
    change(tmp_path, "update job set state = -5 where id = 'q.bad'")
    contents = examine(str(tmp_path / "jobs.db"), desk.clock)
    assert contents.damaged == ("q.bad",)
    assert [each.severity for each in of_records(contents.damaged)] == ["error"]


async def test_a_kind_that_is_no_text_stops_no_enqueue_and_no_command(desk: Desk, tmp_path: Path) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim()
    await desk.publish("q.2", unique=Unique("k", replace=True))
    change(tmp_path, f"update job set kind = {NOT_TEXT}")
    answers = [*await desk.publish("q.1", "q.2"), *await desk.publish("q.3", unique="k")]
    assert [(each.id, each.by) for each in answers if isinstance(each, Exists)] == [
        ("q.1", "id"), ("q.2", "id"), ("q.2", "unique")
    ]  # fmt: skip
    assert await desk.publish("q.4", unique=Unique("k", replace=True)) == [Accepted(replaced="q.2")]
    assert await desk.finish("q.1") == []
    assert await desk.ids() == ["q.4"]
    for id_ in ("q.1", "q.2"):
        assert (await desk.do(Purge(id=id_))).ok
