"""Samples are written once a slot, the journal and the costs stay within their bounds."""

from __future__ import annotations

import asyncio
import logging

import pytest
from msgspec import structs

from outlast.core.history import (
    COST_DAYS,
    DAY,
    MOST_COSTS,
    MOST_ENTRIES,
    OTHER,
    STEPS,
    Cost,
    QueueSample,
    day_of,
    entry,
    sample_of,
    slot_of,
)
from outlast.core.store.control import Purge
from tests.support.jobs import Desk

FINE, COARSE = STEPS


async def known(desk: Desk, *queues: str) -> None:
    """Let the store know some queues."""
    for queue in queues:
        await desk.declare(queue)


async def test_nothing_is_kept_at_first(desk: Desk) -> None:
    await known(desk, "mail")
    assert await desk.store.samples(FINE) == {}
    assert await desk.store.journal("audit", 10) == []
    assert await desk.store.costs(COST_DAYS) == []


async def test_a_sample_is_read_back_with_the_time_of_its_slot(desk: Desk) -> None:
    await desk.publish("mail.1", "mail.2")
    await desk.claim("mail", limit=1)
    stats = await desk.store.stats(["mail"])
    taken = sample_of(stats["mail"], {"succeeded": 7, "dead": 1})
    assert (taken.depth, taken.ready, taken.running, taken.consumers) == (2, 1, 1, 1)
    now = desk.clock.time()
    assert await desk.store.keep_samples({"mail": taken}) == 2
    for step in STEPS:
        at = float(slot_of(now, step) * step.seconds)
        assert await desk.store.samples(step) == {"mail": [structs.replace(taken, at=at)]}
        assert await desk.store.samples(step, ["mail"]) == await desk.store.samples(step)
        assert await desk.store.samples(step, ["other"]) == {}


async def test_the_first_sample_of_a_slot_stays(desk: Desk) -> None:
    await known(desk, "mail", "bulk")
    assert await desk.store.keep_samples({"mail": QueueSample(depth=1)}) == 2
    desk.clock.advance(1)
    assert await desk.store.keep_samples({"mail": QueueSample(depth=2)}) == 0
    assert await desk.store.keep_samples({"mail": QueueSample(depth=2), "bulk": QueueSample(depth=3)}) == 2
    found = await desk.store.samples(FINE)
    assert {queue: [each.depth for each in samples] for queue, samples in found.items()} == {"mail": [1], "bulk": [3]}
    assert await desk.store.keep_samples({}) == 0


async def test_each_step_has_slots_of_its_own(desk: Desk) -> None:
    await known(desk, "mail")
    desk.clock.advance(COARSE.seconds - desk.clock.time() % COARSE.seconds)
    for depth in range(2 * COARSE.seconds // FINE.seconds):
        await desk.store.keep_samples({"mail": QueueSample(depth=depth)})
        desk.clock.advance(FINE.seconds)
    assert [each.depth for each in (await desk.store.samples(FINE))["mail"]] == list(range(60))
    assert [each.depth for each in (await desk.store.samples(COARSE))["mail"]] == [0, 30]


async def test_what_is_older_than_it_is_kept_is_gone(desk: Desk) -> None:
    await known(desk, "mail")
    await desk.store.keep_samples({"mail": QueueSample(depth=1)})
    desk.clock.advance(FINE.kept - FINE.seconds)
    assert len((await desk.store.samples(FINE))["mail"]) == 1
    desk.clock.advance(FINE.seconds)
    assert await desk.store.samples(FINE) == {}
    await desk.store.keep_samples({"mail": QueueSample(depth=2)})
    assert [each.depth for each in (await desk.store.samples(FINE))["mail"]] == [2]
    assert [each.depth for each in (await desk.store.samples(COARSE))["mail"]] == [1, 2]
    desk.clock.advance(COARSE.kept)
    assert await desk.store.samples(COARSE) == {}


async def test_the_number_of_samples_is_bounded(desk: Desk) -> None:
    await known(desk, "mail")
    for depth in range(FINE.most + 20):
        await desk.store.keep_samples({"mail": QueueSample(depth=depth)})
        desk.clock.advance(FINE.seconds)
    kept = [each.depth for each in (await desk.store.samples(FINE))["mail"]]
    assert kept == list(range(21, FINE.most + 20))


async def test_no_slot_waits_for_a_clock_that_was_wrong(desk: Desk) -> None:
    await known(desk, "mail")
    desk.clock.advance(30 * DAY)
    await desk.store.keep_samples({"mail": QueueSample(depth=9)})
    desk.clock._time -= 30 * DAY  # of the host and of a server alike: the time itself was wrong
    assert await desk.store.samples(FINE) == {}
    assert await desk.store.keep_samples({"mail": QueueSample(depth=1)}) == 2
    assert [each.depth for each in (await desk.store.samples(FINE))["mail"]] == [1]


async def test_of_several_processes_one_writes_a_slot(two: tuple[Desk, Desk]) -> None:
    await known(two[0], "mail")
    for _ in range(5):
        takes = [two[n % 2].store.keep_samples({"mail": QueueSample(depth=n)}) for n in range(10)]
        assert sum(await asyncio.gather(*takes)) in (1, 2)
        two[0].clock.advance(FINE.seconds)
    assert await two[0].store.samples(FINE) == await two[1].store.samples(FINE)
    assert len((await two[0].store.samples(FINE))["mail"]) == 5


async def test_the_journal_has_the_newest_entries_first_with_the_time_of_the_store(desk: Desk) -> None:
    first = entry("audit", "pause", who="ann@web", subject="queue mail")
    other = entry("mark", "workers started", who="web:7", detail="4 processes")
    await desk.store.add_entries([first, other])
    before = desk.clock.time()
    desk.clock.advance(60)
    second = entry("audit", "resume", who="ann@web", subject="queue m\u00e4il \U0001f600")
    await desk.store.add_entries([second])
    await desk.store.add_entries([])
    found = await desk.store.journal("audit", 10)
    assert [structs.replace(each, at=0.0) for each in found] == [second, first]
    assert [each.at for each in found] == pytest.approx([before + 60, before], abs=1e-3)
    assert [each.what for each in await desk.store.journal("mark", 10)] == ["workers started"]
    assert len(await desk.store.journal("audit", 1)) == 1


async def test_marks_remove_no_trace_of_an_operator(desk: Desk) -> None:
    await desk.store.add_entries([entry("audit", "purge", who="ann")])
    most = MOST_ENTRIES["mark"]
    for begin in range(0, most + 100, 700):
        await desk.store.add_entries([entry("mark", f"died {n}") for n in range(begin, begin + 700)])
    marks = await desk.store.journal("mark", 10 * most)
    assert len(marks) == most
    assert [each.what for each in marks[:2]] == ["died 2099", "died 2098"]
    assert [each.what for each in await desk.store.journal("audit", 10)] == ["purge"]


async def test_costs_are_added_by_day_kind_and_tenant(desk: Desk) -> None:
    today = day_of(desk.clock.time())
    send = Cost(kind="send", tenant="ann", runs=1, cpu=0.1, wall=0.25, bytes=100)
    assert await desk.store.add_costs("w1", 1, [send, structs.replace(send, tenant="")])
    assert await desk.store.add_costs("w2", 1, [send, structs.replace(send, kind="bill", cpu=1e-9)])
    assert await desk.store.add_costs("w1", 2, [])
    rows = await desk.store.costs(1)
    assert [(each.day, each.kind, each.tenant, each.runs, each.bytes) for each in rows] == [
        (today, "bill", "ann", 1, 100),
        (today, "send", "", 1, 100),
        (today, "send", "ann", 2, 200),
    ]
    assert [rows[0].cpu, rows[2].cpu, rows[2].wall] == pytest.approx([1e-9, 0.2, 0.5])
    desk.clock.advance(DAY)
    assert await desk.store.add_costs("w1", 3, [send])
    assert [each.day for each in await desk.store.costs(2)] == [today, today, today, today + 1]
    assert [each.day for each in await desk.store.costs(1)] == [today + 1]


async def test_a_repetition_adds_nothing(desk: Desk) -> None:
    send = Cost(kind="send", runs=1, cpu=1.0)
    desk.clock.advance(DAY - desk.clock.time() % DAY - 1)
    assert await desk.store.add_costs("w", 1, [send])
    assert not await desk.store.add_costs("w", 1, [send])
    desk.clock.advance(2)  # the call is repeated on the next day
    assert not await desk.store.add_costs("w", 1, [send])
    assert await desk.store.add_costs("w", 2, [send])
    assert await desk.store.add_costs("v", 1, [send])
    assert sum(each.runs for each in await desk.store.costs(2)) == 3


async def test_of_calls_at_the_same_time_with_one_number_one_adds(two: tuple[Desk, Desk]) -> None:
    calls = [two[n % 2].store.add_costs("w", 1, [Cost(kind="send", runs=1)]) for n in range(10)]
    assert sorted(await asyncio.gather(*calls)) == [False] * 9 + [True]
    assert [each.runs for each in await two[1].store.costs(1)] == [1]


async def test_beyond_the_bound_of_a_day_tenants_are_added_together(desk: Desk) -> None:
    for part in range(4):
        tenants = range(part * MOST_COSTS // 4, (part + 1) * MOST_COSTS // 4)
        await desk.store.add_costs("w", part, [Cost(kind="send", tenant=f"t{n}", runs=1) for n in tenants])
    more = [Cost(kind=kind, tenant=tenant, runs=1) for kind in ("send", "bill") for tenant in ("t0", "new", "newer")]
    await desk.store.add_costs("w", 9, more)
    rows = {(each.kind, each.tenant): each.runs for each in await desk.store.costs(1)}
    assert len(rows) == MOST_COSTS + 2
    assert rows["send", "t0"] == 2
    assert rows["send", OTHER] == 2
    assert rows["bill", OTHER] == 3
    desk.clock.advance(DAY)
    await desk.store.add_costs("w", 10, [Cost(kind="send", tenant="new", runs=1)])
    assert [each.tenant for each in await desk.store.costs(1)] == ["new"]


async def test_costs_are_kept_for_their_days(desk: Desk) -> None:
    await desk.store.add_costs("w", 1, [Cost(kind="send", runs=1)])
    desk.clock.advance((COST_DAYS - 1) * DAY)
    assert len(await desk.store.costs(1000)) == 1
    desk.clock.advance(DAY)
    assert await desk.store.costs(1000) == []
    await desk.store.add_costs("w", 2, [Cost(kind="send", runs=1)])
    assert len(await desk.store.costs(COST_DAYS)) == 1


@pytest.mark.parametrize("batch", [1, 2])
async def test_a_purge_by_key_leaves_no_trace_of_the_key_in_the_costs(desk: Desk, batch: int) -> None:
    await desk.publish("mail.1", key="ann")
    rows = [
        Cost(kind=kind, tenant=tenant, runs=runs, cpu=1.0)
        for kind, tenant, runs in (
            ("send", "ann", 1),
            ("bill", "ann", 2),
            ("send", "bob", 4),
            ("send", OTHER, 8),
            ("send", "", 16),
        )
    ]
    await desk.store.add_costs("w", 1, rows)
    desk.clock.advance(DAY)
    await desk.store.add_costs("w", 2, rows)
    await desk.store.apply([Purge(key="ann", queue="mail"), Purge(key="ann", states=("dead",))])
    assert "ann" in {each.tenant for each in await desk.store.costs(2)}
    await desk.store.apply([Purge(key="ann")] * batch)
    found = await desk.store.costs(2)
    assert [(each.kind, each.tenant, each.runs, each.cpu) for each in found] == 2 * [
        ("bill", OTHER, 2, 1.0),
        ("send", "", 16, 1.0),
        ("send", "bob", 4, 1.0),
        ("send", OTHER, 9, 2.0),
    ]
    await desk.store.apply([Purge(key=OTHER), Purge(key="none")])
    assert await desk.store.costs(2) == found


async def test_reads_tell_nothing_of_sound_rows(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await desk.store.keep_samples({"mail": QueueSample()})
        await desk.store.add_entries([entry("mark", "workers started")])
        await desk.store.add_costs("w", 1, [Cost(kind="send", runs=1)])
        await desk.store.samples(FINE)
        await desk.store.journal("mark", 1)
        await desk.store.costs(1)
    assert caplog.records == []


async def test_the_history_changes_no_queue(desk: Desk) -> None:
    await desk.publish("mail.1")
    before = await desk.store.stats([])
    await desk.store.keep_samples({"mail": QueueSample(depth=9)})
    await desk.store.add_costs("w", 1, [Cost(kind="send", runs=1)])
    await desk.store.add_entries([entry("mark", "workers started")])
    assert await desk.store.stats([]) == before
