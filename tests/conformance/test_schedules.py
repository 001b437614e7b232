"""Schedules: kept, declared, changed, and each tick taken once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from outlast.core.errors import BodyTooLarge, ConfigurationError
from outlast.core.policy import DEFAULTS
from outlast.core.schedule import (
    Amendment,
    EditSchedule,
    PauseSchedule,
    RemoveSchedule,
    RunSchedule,
    ScheduleAdvance,
    ScheduleEntry,
    ScheduleRecord,
    Spec,
)
from outlast.core.store.control import Answer
from outlast.core.ticking import ORPHANED, amended, enlisted
from tests.support.jobs import Desk

SPEC = Spec(cron="0 5 * * *", tz="Europe/Berlin", jitter=30, misfire="all", misfire_limit=7, overlap="queue")


def entry(name: str = "nightly", version: str = "v1", **changes: Any) -> ScheduleEntry:
    given = {"name": name, "app": "shop", "kind": "clean", "queue": "q", "spec": SPEC, "version": version}
    return ScheduleEntry(**{**given, **changes})


def move(desk: Desk, record: ScheduleRecord, *ids: str, **changes: Any) -> ScheduleAdvance:
    given = {
        "name": record.name,
        "expect": record.revision,
        "upto": record.upto + 60,
        "messages": tuple(desk.message(id) for id in ids),
    }
    return ScheduleAdvance(**{**given, **changes})


async def only(desk: Desk) -> ScheduleRecord:
    (record,) = await desk.store.schedules()
    return record


async def test_what_is_declared_is_kept_as_the_core_says(desk: Desk) -> None:
    now = desk.clock.time()
    said = await desk.store.enlist([entry("b"), entry("a")])
    assert said == [enlisted(None, entry("b"), now), enlisted(None, entry("a"), now)]
    assert await desk.store.schedules() == said[::-1]
    desk.clock.advance(20)
    again = await desk.store.enlist([entry("a", "v2", spec=Spec(every=60))])
    assert again == [enlisted(said[1], entry("a", "v2", spec=Spec(every=60)), now + 20)]
    assert await desk.store.schedules() == [again[0], said[0]]
    assert await desk.store.enlist([]) == []


async def test_a_schedule_of_another_app_is_refused_with_nothing_changed(desk: Desk) -> None:
    await desk.store.enlist([entry("a")])
    with pytest.raises(ConfigurationError, match="belongs to app 'shop'"):
        await desk.store.enlist([entry("b", app="blog"), entry("a", app="blog")])
    assert [record.name for record in await desk.store.schedules()] == ["a"]


async def test_a_tick_is_taken_and_published_in_one_step(desk: Desk) -> None:
    (record,) = await desk.store.enlist([entry()])
    assert await desk.store.advance([move(desk, record, "q.1", "q.2", tick=record.upto + 60, skipped=3)]) == [True]
    after = await only(desk)
    assert (after.upto, after.fired, after.skipped, after.last) == (record.upto + 60, 2, 3, "q.2")
    assert await desk.ids() == ["q.1", "q.2"]


async def test_who_comes_second_changes_nothing(desk: Desk) -> None:
    (record,) = await desk.store.enlist([entry()])
    first, second = move(desk, record, "q.1"), move(desk, record, "q.2")
    assert await desk.store.advance([first, second]) == [True, False]
    assert await desk.store.advance([first]) == [False]
    assert await desk.store.advance([move(desk, record, "q.3", name="unknown")]) == [False]
    assert await desk.store.advance([]) == []
    assert (await only(desk)).fired == 1
    assert await desk.ids() == ["q.1"]


async def test_one_move_that_is_late_does_not_hold_up_the_others(desk: Desk) -> None:
    a, b = await desk.store.enlist([entry("a"), entry("b")])
    late = move(desk, structs.replace(a, revision=9), "q.1")
    assert await desk.store.advance([late, move(desk, b, "q.2")]) == [False, True]
    assert await desk.ids() == ["q.2"]


async def test_a_known_id_is_not_published_again(desk: Desk) -> None:
    (record,) = await desk.store.enlist([entry()])
    await desk.run("q.1")
    assert await desk.store.advance([move(desk, record, "q.1")]) == [True]
    after = await only(desk)
    assert (after.fired, after.skipped, after.last) == (0, 0, "q.1")
    assert await desk.ids() == []


async def test_a_held_unique_key_skips_the_tick(desk: Desk) -> None:
    (record,) = await desk.store.enlist([entry()])
    await desk.publish("q.0", unique="clean")
    held = move(desk, record, messages=(desk.message("q.1", unique="clean"),))
    assert await desk.store.advance([held]) == [True]
    after = await only(desk)
    assert (after.fired, after.skipped, after.last) == (0, 1, "q.0")


async def test_a_tick_passes_a_full_queue_and_is_counted(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.0")
    (record,) = await desk.store.enlist([entry()])
    assert await desk.store.advance([move(desk, record, "q.1", "q.2")]) == [True]
    assert (await desk.stats()).depth == 3
    assert (await only(desk)).fired == 2


async def test_a_message_over_the_limit_stops_all_of_it(desk: Desk) -> None:
    a, b = await desk.store.enlist([entry("a"), entry("b")])
    large = desk.message("q.1", args={"text": "x" * DEFAULTS.max_body})
    with pytest.raises(BodyTooLarge):
        await desk.store.advance([move(desk, a, "q.2"), move(desk, b, messages=(large,))])
    assert await desk.store.schedules() == [a, b]
    assert await desk.ids() == []


async def test_a_move_wakes_a_waiting_claim(desk: Desk) -> None:
    (record,) = await desk.store.enlist([entry()])
    waiting = asyncio.create_task(desk.ids(wait=60))
    await asyncio.sleep(0)
    await desk.store.advance([move(desk, record, "q.1")])
    assert await waiting == ["q.1"]


async def test_changes_by_people_are_kept_as_the_core_says(desk: Desk) -> None:
    (record,) = await desk.store.enlist([entry()])
    desk.clock.advance(5)
    changes: list[Amendment] = [
        EditSchedule("nightly", Spec(every=60)),
        PauseSchedule("nightly"),
        RunSchedule("nightly"),
        RemoveSchedule("nightly"),
        PauseSchedule("unknown"),
    ]
    expected: ScheduleRecord | None = record
    for change in changes[:4]:
        expected, _ = amended(expected, change, desk.clock.time())
    answers = await desk.store.amend(changes)
    assert [answer.why for answer in answers] == ["", "", "", "declared", "unknown"]
    assert await only(desk) == expected
    assert await desk.store.amend([]) == []


async def test_what_nobody_declares_can_be_removed(desk: Desk) -> None:
    await desk.store.enlist([entry("a"), entry("b")])
    desk.clock.advance(ORPHANED + 1)
    await desk.store.enlist([entry("b")])
    answers = await desk.store.amend([RemoveSchedule("a"), RemoveSchedule("b")])
    assert answers == [Answer(True, 1), Answer(False, why="declared")]
    assert [record.name for record in await desk.store.schedules()] == ["b"]


async def test_a_change_between_makes_a_move_late(desk: Desk) -> None:
    (record,) = await desk.store.enlist([entry()])
    await desk.store.amend([PauseSchedule("nightly")])
    assert await desk.store.advance([move(desk, record, "q.1")]) == [False]
    assert await desk.ids() == []


async def test_being_seen_does_not(desk: Desk) -> None:
    (record,) = await desk.store.enlist([entry()])
    desk.clock.advance(20)
    await desk.store.enlist([entry()])
    assert await desk.store.advance([move(desk, record, "q.1")]) == [True]
    assert (await only(desk)).seen == desk.clock.time()


async def test_who_waits_hears_of_a_change(desk: Desk) -> None:
    await desk.store.enlist([entry()])
    heard = await desk.store.amended(0, 0)
    waiting = asyncio.create_task(desk.store.amended(heard, 60))
    await asyncio.sleep(0)
    await desk.store.amend([RunSchedule("nightly")])
    later = await waiting
    assert later > heard
    assert await desk.store.amended(heard, 60) == later
    assert await desk.store.amended(later, 0) == later


async def test_another_process_hears_of_it_too(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.store.enlist([entry()])
    heard = await other.store.amended(0, 0)
    waiting = asyncio.create_task(other.store.amended(heard, 60))
    await asyncio.sleep(0)
    await one.store.amend([RunSchedule("nightly")])
    assert await waiting > heard
    assert (await only(other)).asked is not None


async def test_of_many_at_the_same_time_one_takes_the_tick(two: tuple[Desk, Desk]) -> None:
    one, other = two
    (record,) = await one.store.enlist([entry()])
    made = await asyncio.gather(
        *(desk.store.advance([move(desk, record, f"q.{n}")]) for n in range(10) for desk in (one, other))
    )
    assert sum(answer for (answer,) in made) == 1
    assert len(await one.ids()) == 1
    assert (await only(other)).fired == 1
