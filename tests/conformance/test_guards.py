"""The shared state of guards: kept, told, and each change made once."""

from __future__ import annotations

import asyncio
import logging

import pytest
from msgspec import structs

from outlast.core.guards.record import (
    GuardRecord,
    GuardRules,
    Lease,
    Vote,
    answered,
    asked,
    commanded,
    probe_ended,
    probe_renewed,
    rebased,
    state_of,
    tallied,
    took_probe,
)
from tests.support.jobs import Desk

RULES = GuardRules(interval=5, lease=10, ramp=20, minimum=3, failure_rate=0.25, slow_rate=0.5, quorum=0.75)


async def read(desk: Desk, name: str = "payments") -> tuple[GuardRecord, float]:
    """Return the record of a guard, and the store's time."""
    view = await desk.store.guards()
    return view.of(name), view.now


async def opened(desk: Desk, name: str = "payments") -> GuardRecord:
    """Open a guard by hand for all, and let it go to its probes: stored."""
    record, now = await read(desk, name)
    round_ = asked(record, Vote("a", open=True, calls=9, failures=9), now, RULES)
    assert await desk.store.swap([round_]) == [True]
    desk.clock.advance(1)
    record, now = await read(desk, name)
    assert await desk.store.swap([tallied(record, now)]) == [True]
    return (await read(desk, name))[0]


async def test_nothing_is_stored_at_first(desk: Desk) -> None:
    view = await desk.store.guards()
    assert view.records == ()
    assert view.of("payments") == GuardRecord(name="payments", clock=view.clock)


async def test_what_is_stored_is_read_back_by_name(desk: Desk) -> None:
    view = await desk.store.guards()
    full = tallied(
        answered(asked(view.of("b"), Vote("x", True, 9, 8, 7), view.now, RULES), Vote("y", True)), view.now + 1
    )
    lease = Lease("x 1", view.now + 9)
    first = structs.replace(full, revision=1, since=view.now, probe_at=view.now + 1, probe=lease)
    other = commanded(view.of("a\u00e9"), "open", view.now)
    assert await desk.store.swap([first, other]) == [True, True]
    again = await desk.store.guards()
    assert again.records == (rebased(other, again.clock, again.now), rebased(first, again.clock, again.now))
    assert again.records[1] == first
    assert again.of("b").rules == RULES
    assert await desk.store.swap([]) == []


async def test_the_time_moves_on_and_a_set_wall_clock_does_not_move_it(desk: Desk) -> None:
    before = await desk.store.guards()
    desk.clock.advance(7)
    desk.clock.step_wall(-3600)
    after = await desk.store.guards()
    assert after.now - before.now == pytest.approx(7, abs=1e-3)
    assert after.clock == before.clock


async def test_a_change_follows_on_the_stored_revision(desk: Desk) -> None:
    record, now = await read(desk)
    first = commanded(record, "open", now)
    assert (first.revision, await desk.store.swap([first])) == (1, [True])
    second = commanded(first, "close", now)
    for revision in (0, 1, 3, 9):
        assert await desk.store.swap([structs.replace(second, revision=revision)]) == [False]
    assert (await read(desk))[0].held == "open"
    assert await desk.store.swap([second]) == [True]
    assert (await read(desk))[0].held == "closed"


async def test_without_a_record_only_the_first_revision_is_stored(desk: Desk) -> None:
    record, _ = await read(desk)
    assert await desk.store.swap([structs.replace(record, revision=2)]) == [False]
    assert (await desk.store.guards()).records == ()


async def test_each_record_is_stored_in_a_step_of_its_own(desk: Desk) -> None:
    view = await desk.store.guards()
    a, b = (commanded(view.of(name), "open", view.now) for name in "ab")
    late = structs.replace(b, revision=5)
    after = commanded(a, "close", view.now)
    assert await desk.store.swap([a, late, after, after]) == [True, False, True, False]
    assert [(each.name, each.held) for each in (await desk.store.guards()).records] == [("a", "closed")]


async def test_who_waits_wakes_at_a_change(desk: Desk) -> None:
    heard = await desk.store.guards_changed(0, 0)
    waiting = asyncio.create_task(desk.store.guards_changed(heard, 60))
    await asyncio.sleep(0)
    await opened(desk)
    later = await waiting
    assert later != heard
    assert await desk.store.guards_changed(heard, 60) != heard


async def test_no_waiter_wakes_when_nothing_was_stored(desk: Desk) -> None:
    record = await opened(desk)
    heard = await desk.store.guards_changed(0, 0)
    assert await desk.store.swap([record]) == [False]
    await desk.store.guards()
    assert await desk.store.guards_changed(heard, 0) == heard


async def test_jobs_wake_no_waiter_of_guards(desk: Desk) -> None:
    heard = await desk.store.guards_changed(0, 0)
    await desk.run("q.1")
    assert await desk.store.guards_changed(heard, 0) == heard


async def test_another_process_wakes_too_and_reads_the_same(two: tuple[Desk, Desk]) -> None:
    one, other = two
    heard = await other.store.guards_changed(0, 0)
    waiting = asyncio.create_task(other.store.guards_changed(heard, 60))
    await asyncio.sleep(0)
    record = await opened(one)
    assert await waiting != heard
    assert (await read(other))[0] == record


async def test_of_many_at_the_same_time_one_stores_its_change(two: tuple[Desk, Desk]) -> None:
    record = await opened(two[0])
    two[0].clock.advance(RULES.interval)
    now = (await two[0].store.guards()).now
    takes = [took_probe(record, f"{number}", now) for number in range(20)]
    made = await asyncio.gather(*(two[n % 2].store.swap([each]) for n, each in enumerate(takes) if each is not None))
    assert sorted(made) == [[False]] * 19 + [[True]]
    kept, now = await read(two[1])
    assert kept.probe is not None
    assert kept.probe.holder == str(made.index([True]))
    assert state_of(kept, now) == "half-open"


async def probing(desk: Desk) -> GuardRecord:
    """Open the guard, and take its probe as "a 1" when it is due; return the record."""
    await opened(desk)
    desk.clock.advance(RULES.interval)
    record, now = await read(desk)
    taken = took_probe(record, "a 1", now)
    assert taken is not None
    assert await desk.store.swap([taken]) == [True]
    return taken


async def test_a_probe_closes_it_for_all(two: tuple[Desk, Desk]) -> None:
    one, other = two
    taken = await probing(one)
    one.clock.advance(1)
    record, now = await read(one)
    assert await one.store.swap([probe_ended(record, "a 1", taken.generation, "success", now)]) == [True]
    kept, now = await read(other)
    assert (kept.open, kept.closed_at) == (False, now)


async def test_a_lease_lapses_by_the_clock_of_the_store(two: tuple[Desk, Desk]) -> None:
    one, other = two
    taken = await probing(one)
    one.clock.advance(RULES.lease - 0.5)
    record, now = await read(other)
    assert took_probe(record, "b 1", now) is None
    one.clock.advance(0.5)
    record, now = await read(other)
    again = took_probe(record, "b 1", now + 1e-3)
    assert again is not None
    assert await other.store.swap([again]) == [True]
    record, now = await read(one)
    assert probe_ended(record, "a 1", taken.generation, "success", now) == record


async def test_a_lease_that_is_renewed_lasts_for_all(two: tuple[Desk, Desk]) -> None:
    one, other = two
    taken = await probing(one)
    one.clock.advance(RULES.lease - 0.5)
    record, now = await read(one)
    assert await one.store.swap([probe_renewed(record, "a 1", taken.generation, now)]) == [True]
    one.clock.advance(RULES.lease - 0.5)
    record, now = await read(other)
    assert took_probe(record, "b 1", now) is None
    record, now = await read(one)
    assert not probe_ended(record, "a 1", taken.generation, "success", now).open
    one.clock.advance(0.5)
    record, now = await read(other)
    assert took_probe(record, "b 1", now + 1e-3) is not None


async def test_reads_tell_nothing_of_sound_records(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await opened(desk)
        await desk.store.guards()
    assert caplog.records == []
