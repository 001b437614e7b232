"""The report: failures that are alike are one group, extremes have their time, and what is read is bounded."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from outlast.admin import report as report_module
from outlast.admin.guards import command_guard
from outlast.admin.overview import newest, overview
from outlast.admin.report import ended_within, groups_of, report, shape_of
from outlast.brokers.memory import MemoryStore
from outlast.core.guards.record import GuardRules
from outlast.core.history import Cost, QueueSample, entry, sample_of
from outlast.core.message import Failure
from outlast.core.prices import Prices
from outlast.core.store.records import JobRecord
from outlast.core.store.store import Store
from outlast.core.store.totals import of_queues
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk, failure


def dead(
    text: str, *, kind: str = "charge", at: float = 1.0, id: str = "pay.1", type: str = "TimeoutError"
) -> JobRecord:
    """Return a dead letter."""
    return JobRecord(
        id=id,
        queue="pay",
        kind=kind,
        state="dead",
        args={},
        enqueued_at=0.0,
        run_at=0.0,
        finished_at=at,
        failures=(Failure(1, at, type, text),),
    )


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("no answer within 30.5 s", "TimeoutError: no answer within # s"),
        ("order 0198f2aa-1111-2222-3333-444455556666 is gone", "TimeoutError: order # is gone"),
        ("at 0x7f00aa: 10,000 rows", "TimeoutError: at #: # rows"),
        ("key deadbeefdeadbeefdeadbeef", "TimeoutError: key #"),
        ("first line\nsecond", "TimeoutError: first line"),
        ("", "TimeoutError"),
        ("x" * 500, "TimeoutError: " + "x" * 53 + "..."),
        ("\x1b[31mred", "TimeoutError: \\x#b[#mred"),
    ],
)
def test_what_differs_between_failures_of_one_cause_is_left_out(text: str, shape: str) -> None:
    assert shape_of(dead(text)) == shape


def test_a_job_that_died_without_a_failure_is_told_by_its_reason() -> None:
    assert shape_of(structs.replace(dead("x"), failures=(), reason="unreadable")) == "unreadable"
    assert shape_of(structs.replace(dead("x"), failures=())) == "dead"


def test_failures_are_grouped_the_largest_group_first() -> None:
    records = [dead(f"no answer within {n} s", at=n, id=f"pay.{n}") for n in (1.0, 3.0, 2.0)]
    groups = groups_of([dead("other", kind="send", at=9.0), *records])
    assert [(each.kind, each.what, each.count, each.last, each.such_as) for each in groups] == [
        ("charge", "TimeoutError: no answer within # s", 3, 3.0, "pay.3.0"),
        ("send", "TimeoutError: other", 1, 9.0, "pay.1"),
    ]


def test_what_has_ended_is_the_difference_of_the_totals_of_each_queue() -> None:
    mail = [QueueSample(ended={"succeeded": 10}), QueueSample(ended={"succeeded": 30, "dead": 2, "expired": 0})]
    pay = [QueueSample(ended={"dead": 5}), QueueSample(ended={"dead": 6})]
    assert ended_within([mail, pay, []]) == {"succeeded": 20, "dead": 3}
    assert ended_within([[QueueSample(), QueueSample()]]) == {}
    fell = [QueueSample(ended={"dead": each}) for each in (90, 100, 3, 5)]
    assert ended_within([fell]) == {"dead": 15}


async def test_ended_jobs_are_counted_from_the_sample_before_the_time_until_now(desk: Desk) -> None:
    store = Store.of(desk.store, "memory:")

    async def sampled() -> None:
        stats, ended = await desk.store.stats(["pay"]), of_queues(await store.totals.totals())
        await desk.store.keep_samples({"pay": sample_of(stats["pay"], ended["pay"])})

    await kill(desk, "pay.1")
    await sampled()
    begin = desk.clock.time()
    desk.clock.advance(3 * 3600)
    await kill(desk, "pay.2")
    await sampled()
    desk.clock.advance(60)
    await kill(desk, "pay.3")
    now = desk.clock.time()
    found = await report(store, since=now - 2 * 3600, until=now, prices=Prices())
    assert (found.ended, found.ended_since) == ({"dead": 2}, now - 2 * 3600)
    found = await report(store, since=begin - 3600, until=now, prices=Prices())
    assert (found.ended, found.ended_since) == ({"dead": 2}, begin)


async def test_the_first_sample_of_a_slow_slot_counts_from_when_it_was_taken(desk: Desk) -> None:
    store = Store.of(desk.store, "memory:")
    desk.clock.advance(250)
    begin = desk.clock.time()
    await desk.store.keep_samples({"pay": QueueSample(ended={"dead": 0})})
    desk.clock.advance(4)
    await kill(desk, "pay.1")
    found = await report(store, since=begin - 12 * 3600, until=desk.clock.time(), prices=Prices())
    assert (found.ended, found.ended_since) == ({"dead": 1}, begin)


async def test_samples_of_a_store_that_counted_no_ends_are_not_taken_for_none(desk: Desk) -> None:
    store = Store.of(desk.store, "memory:")
    await kill(desk, "pay.1")
    await desk.store.keep_samples({"pay": QueueSample()})
    desk.clock.advance(60)
    found = await report(store, since=desk.clock.time() - 3600, until=desk.clock.time(), prices=Prices())
    assert (found.ended, found.ended_since) == ({}, desk.clock.time() - 3600)


@pytest.fixture
def desk() -> Desk:
    clock = FakeClock(1_700_006_400.0)
    store = MemoryStore(clock)
    store.capabilities = structs.replace(store.capabilities, shared=True)
    return Desk(store, clock)


async def kill(desk: Desk, *ids: str) -> None:
    """Let these jobs die."""
    await desk.publish(*ids)
    await desk.claim(ids[0].partition(".")[0])
    await desk.finish(*ids, state="dead", error=failure(1, f"no answer {ids[0]}", desk.clock.time()))


async def test_a_report_has_what_happened_in_its_time(desk: Desk) -> None:
    store = Store.of(desk.store, "memory:")
    await kill(desk, "pay.1")
    await store.history.add_entries([entry("audit", "pause", who="ann", subject="queue old")])
    await desk.store.keep_samples({"pay": QueueSample(depth=999, oldest=999.0)})
    desk.clock.advance(2 * 3600)
    start = desk.clock.time()
    await kill(desk, "pay.2", "pay.3")
    for depth in (5, 80, 7):
        await desk.store.keep_samples({"pay": QueueSample(depth=depth, oldest=depth / 10)})
        desk.clock.advance(300)
    await desk.publish("pay.4")
    await store.history.add_entries(
        [entry("mark", "worker died"), entry("audit", "pause", who="ann", subject="queue pay")]
    )
    await store.history.add_costs(
        "w", 1, [Cost(kind="fast", runs=10, wall=1.0, cpu=9.0), Cost(kind="slow", runs=1, wall=5.0)]
    )
    await command_guard(store.guards, "payments", "open", GuardRules())
    found = await report(store, since=start - 1, until=desk.clock.time(), prices=Prices.of("cpu_hour=3600"))
    assert [(each.kind, each.count) for each in found.failures] == [("send", 2)]
    assert found.complete
    assert [each.kind for each in found.kinds] == ["slow", "fast"]
    assert [(each.cost.kind, each.price) for each in found.costs] == [("fast", 9.0), ("slow", 0.0)]
    assert sorted(each.what for each in found.entries) == ["pause", "worker died"]
    (queue,) = found.queues
    assert (queue.most_depth, queue.oldest, queue.now.depth) == (80, 8.0, 1)
    assert 0 < queue.most_depth_at - start <= 600
    assert [(each.name, each.state, each.held) for each in found.guards] == [("payments", "open", "open")]


async def test_a_report_on_more_than_an_hour_reads_the_samples_of_the_day(desk: Desk) -> None:
    store = Store.of(desk.store, "memory:")
    for depth in (50, 1):
        await desk.store.publish([desk.message(f"pay.{depth}")])
        await desk.store.keep_samples({"pay": QueueSample(depth=depth)})
        desk.clock.advance(5 * 3600)
    found = await report(store, since=desk.clock.time() - 12 * 3600, until=desk.clock.time(), prices=Prices())
    assert [each.most_depth for each in found.queues] == [50]


async def test_only_so_many_dead_letters_are_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "MOST_READ", 3)
    monkeypatch.setattr(report_module, "_PAGE", 2)
    await kill(desk, *(f"pay.{n}" for n in range(5)))
    found = await report(Store.of(desk.store, "memory:"), since=0.0, until=desk.clock.time(), prices=Prices())
    assert (sum(each.count for each in found.failures), found.complete) == (3, False)


async def test_a_transport_has_only_its_counts(desk: Desk) -> None:
    await desk.publish("pay.1")
    await desk.publish("mail.1")
    transport = Store(desk.store, url="amqp:")
    found = await report(transport, since=0.0, until=desk.clock.time(), prices=Prices(), declared=["pay"])
    assert ([each.name for each in found.queues], found.failures, found.costs, found.entries) == (["pay"], (), (), ())
    assert await newest(transport, 5) == ()
    assert (await overview(transport)).samples == {}


async def test_the_overview_has_the_newest_entries_of_all_sorts(desk: Desk) -> None:
    store = Store.of(desk.store, "memory:")
    words: list[Any] = ["audit", "mark", "audit", "mark"]
    for number, sort in enumerate(words):
        await store.history.add_entries([entry(sort, str(number))])
        desk.clock.advance(1)
    await desk.publish("pay.1", "mail.1")
    stats = await desk.store.stats(["pay"])
    await desk.store.keep_samples({"pay": sample_of(stats["pay"]), "mail": QueueSample()})
    found = await overview(store, ["pay"], entries=3)
    assert [each.what for each in found.entries] == ["3", "2", "1"]
    assert (set(found.queues), set(found.samples), found.guards) == ({"pay"}, {"pay"}, ())
