"""Schedules: what a declaration may say, what becomes of a record, and which ticks fire."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from outlast.core.errors import BodyTooLarge, ConfigurationError
from outlast.core.schedule import (
    EditSchedule,
    PauseSchedule,
    RemoveSchedule,
    RunSchedule,
    ScheduleAdvance,
    ScheduleEntry,
    ScheduleRecord,
    Spec,
    check_schedule_name,
)
from outlast.core.settlement import ACCEPTED, Exists, Published
from outlast.core.store.control import Answer
from outlast.core.ticking import (
    CLOCK_SET_BACK,
    GRACE,
    ORPHANED,
    STALE,
    TOUCH,
    TickPlan,
    advanced,
    amended,
    check_sizes,
    enlisted,
    named,
    needs_touch,
    orphaned,
    plan,
    position,
    stands_back,
)
from tests.support.jobs import message

NOW = 1_700_000_000.0
MINUTELY = Spec(cron="* * * * *")


def entry(version: str = "v1", **changes: Any) -> ScheduleEntry:
    return ScheduleEntry(
        **{
            "name": "nightly",
            "app": "shop",
            "kind": "clean",
            "queue": "q",
            "spec": MINUTELY,
            "version": version,
            **changes,
        }
    )


def record(**changes: Any) -> ScheduleRecord:
    return structs.replace(enlisted(None, entry(), NOW), **changes)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({}, "give either a cron expression"),
        ({"cron": "* * * * *", "every": 5}, "give either a cron expression"),
        ({"cron": 7}, "cron=7"),
        ({"cron": "* * * * *", "tz": ""}, "tz="),
        ({"cron": "* * * * *", "tz": 5}, "tz=5"),
        ({"cron": "* * * * *", "jitter": "2d"}, "jitter=172800"),
        ({"cron": "* * * * *", "misfire": "never"}, "misfire='never'"),
        ({"cron": "* * * * *", "misfire_limit": 0}, "misfire_limit=0"),
        ({"cron": "* * * * *", "misfire_limit": True}, "misfire_limit=True"),
        ({"cron": "* * * * *", "overlap": "maybe"}, "overlap='maybe'"),
        ({"every": 0.01}, "every=0.01"),
        ({"every": "soon"}, "every='soon'"),
        ({"every": 60, "tz": "Europe/Berlin"}, "every="),
        ({"every": 60, "jitter": 61}, "jitter=61"),
    ],
)
def test_a_wrong_spec_is_refused_with_the_setting(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match="schedule") as error:
        Spec(**wrong)
    assert named in str(error.value)


def test_durations_become_seconds() -> None:
    assert Spec(every="100ms").every == 0.1
    spec = Spec(every="5m", jitter="30s")
    assert (spec.every, spec.jitter) == (300.0, 30.0)


@pytest.mark.parametrize("name", ["", "a b", "7up", "x" * 81, None, "a/b"])
def test_a_name_that_no_id_can_carry_is_refused(name: object) -> None:
    with pytest.raises(ConfigurationError, match="schedule name="):
        check_schedule_name(name)
    assert check_schedule_name("nightly.eu-1") == "nightly.eu-1"


# Declared again


def test_a_new_schedule_begins_now() -> None:
    fresh = enlisted(None, entry(), NOW)
    assert (fresh.upto, fresh.seen, fresh.revision, fresh.spec) == (NOW, NOW, 1, MINUTELY)


def test_the_same_version_is_only_seen() -> None:
    assert enlisted(record(), entry(), NOW + 20) == record(seen=NOW + 20)


def test_another_app_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="belongs to app 'shop'"):
        enlisted(record(), entry(app="blog"), NOW)


def test_a_new_spec_begins_now_and_ends_an_edit() -> None:
    before = record(edited=Spec(every=60), upto=NOW - 500, backlog=(1.0,), error="x", paused=True)
    after = enlisted(before, entry("v2", spec=Spec(every=30)), NOW)
    assert (after.spec, after.upto, after.backlog, after.error) == (Spec(every=30), NOW, (), "")
    assert (after.paused, after.older, after.revision) == (True, ("v1",), 2)


def test_other_arguments_keep_place_and_edit() -> None:
    before = record(edited=Spec(every=60), upto=NOW - 500, backlog=(1.0,))
    after = enlisted(before, entry("v2", kind="sweep", queue="r"), NOW)
    assert (after.edited, after.upto, after.backlog) == (Spec(every=60), NOW - 500, (1.0,))
    assert (after.kind, after.queue, after.version) == ("sweep", "r", "v2")


def test_old_code_stands_back_beside_new_code_and_takes_over_when_that_is_gone() -> None:
    new = enlisted(record(), entry("v2", spec=Spec(every=30)), NOW)
    assert stands_back(new, entry("v1"), NOW)
    assert enlisted(new, entry("v1"), NOW + STALE - 1) == new
    assert not needs_touch(new, entry("v1"), NOW + STALE - 1)
    assert needs_touch(new, entry("v1"), NOW + STALE)
    back = enlisted(new, entry("v1"), NOW + STALE)
    assert (back.version, back.spec, back.older) == ("v1", MINUTELY, ("v2",))


def test_it_says_that_it_lives_now_and_then() -> None:
    assert needs_touch(None, entry(), NOW)
    assert needs_touch(record(), entry(app="blog"), NOW)
    assert not needs_touch(record(), entry(), NOW + TOUCH - 1)
    assert needs_touch(record(), entry(), NOW + TOUCH)
    assert needs_touch(record(), entry("v2"), NOW)


def test_what_nobody_declares_is_an_orphan() -> None:
    assert not orphaned(record(), NOW + ORPHANED)
    assert orphaned(record(), NOW + ORPHANED + 1)


# Changed by people


def test_an_edit_begins_now_and_may_be_taken_back() -> None:
    edited, answer = amended(record(error="x"), EditSchedule("nightly", Spec(every=60)), NOW + 9)
    assert answer == Answer(True, 1)
    assert edited is not None
    assert (edited.spec, edited.declared, edited.upto, edited.error) == (Spec(every=60), MINUTELY, NOW + 9, "")
    assert amended(edited, EditSchedule("nightly", Spec(every=60)), NOW)[1] == Answer(True, 0)
    again, _ = amended(edited, EditSchedule("nightly", None), NOW + 10)
    assert again is not None
    assert (again.spec, again.revision) == (MINUTELY, 3)


def test_a_pause_leaves_out_what_came_due() -> None:
    paused, answer = amended(record(), PauseSchedule("nightly"), NOW + 9)
    assert answer == Answer(True, 1)
    assert paused is not None
    assert (paused.paused, paused.upto) == (True, NOW)
    assert amended(paused, PauseSchedule("nightly"), NOW)[1] == Answer(True, 0)
    resumed, _ = amended(paused, PauseSchedule("nightly", on=False), NOW + 99)
    assert resumed is not None
    assert (resumed.paused, resumed.upto) == (False, NOW + 99)


def test_a_run_is_asked_for() -> None:
    asked, answer = amended(record(), RunSchedule("nightly"), NOW + 9)
    assert answer == Answer(True, 1)
    assert asked is not None
    assert asked.asked == NOW + 9


def test_only_what_nobody_declares_is_removed() -> None:
    assert amended(record(), RemoveSchedule("nightly"), NOW) == (record(), Answer(False, why="declared"))
    assert amended(record(), RemoveSchedule("nightly"), NOW + ORPHANED + 1) == (None, Answer(True, 1))
    assert amended(None, RunSchedule("nightly"), NOW) == (None, Answer(False, why="unknown"))
    assert amended(None, RunSchedule("nightly"), NOW, damaged=True) == (None, Answer(False, why="unreadable"))
    assert amended(None, RemoveSchedule("nightly"), NOW, damaged=True) == (None, Answer(True, 1))


# Fired


def test_a_move_is_counted() -> None:
    ids = ("q.1", "q.2", "q.3")
    move = ScheduleAdvance(
        name="nightly",
        expect=1,
        upto=NOW + 60,
        messages=tuple(message(id, NOW) for id in ids),
        tick=NOW + 60,
        skipped=2,
        served=True,
    )
    answers: list[Published] = [ACCEPTED, Exists("q.2", "id"), Exists("q.0", "unique")]
    after = advanced(record(asked=5.0, error="x"), move, answers)
    assert (after.fired, after.skipped, after.last, after.last_tick) == (1, 3, "q.0", NOW + 60)
    assert (after.upto, after.asked, after.error, after.revision) == (NOW + 60, None, "", 2)
    nothing = advanced(after, ScheduleAdvance(name="nightly", expect=2, upto=NOW, error="why"), [])
    assert (nothing.last, nothing.last_tick, nothing.error, nothing.fired) == ("q.0", NOW + 60, "why", 1)
    accepted = advanced(record(), move, [ACCEPTED] * 3)
    assert accepted.last == "q.3"


def test_a_message_that_is_too_large_stops_all_moves() -> None:
    large = message("q.1", NOW, args={"text": "x" * 100})
    check_sizes([ScheduleAdvance(name="a", expect=1, upto=NOW, messages=(large,))], 200)
    with pytest.raises(BodyTooLarge):
        check_sizes([ScheduleAdvance(name="a", expect=1, upto=NOW, messages=(large,))], 99)


def test_a_clock_that_was_set_back_far_begins_anew() -> None:
    assert position(record(), NOW - CLOCK_SET_BACK) == NOW
    assert position(record(), NOW - CLOCK_SET_BACK - 1) == NOW - CLOCK_SET_BACK - 1


def of(misfire: str = "latest", overlap: str = "allow", limit: int = 3, **changes: Any) -> ScheduleRecord:
    spec = Spec(cron="* * * * *", misfire=misfire, overlap=overlap, misfire_limit=limit)  # type: ignore[arg-type]
    return record(declared=spec, **changes)


def ago(*seconds: float) -> list[float]:
    return [NOW - each for each in seconds]


@pytest.mark.parametrize(
    ("policy", "due", "passed", "fire", "skipped"),
    [
        ("latest", [], 0, [], 0),
        ("latest", ago(120, 60, 0), 5, ago(0), 7),
        ("latest", ago(9000), 0, ago(9000), 0),
        ("skip", ago(60, 0), 0, ago(0), 1),
        ("skip", ago(GRACE), 0, ago(GRACE), 0),
        ("skip", ago(GRACE + 1), 0, [], 1),
        ("skip", [], 0, [], 0),
        ("all", ago(120, 60, 0), 0, ago(120, 60, 0), 0),
        ("all", ago(180, 120, 60, 0), 4, ago(120, 60, 0), 5),
    ],
)
def test_misfires(policy: str, due: list[float], passed: int, fire: list[float], skipped: int) -> None:
    found = plan(of(policy), due, passed, now=NOW, busy=False)
    assert found == TickPlan(tuple(fire), (), skipped, due[-1] if due else NOW)


def test_overlap_skip_leaves_out_what_would_run_beside() -> None:
    assert plan(of("all", "skip"), ago(60, 0), 0, now=NOW, busy=True) == TickPlan((), (), 2, NOW)
    assert plan(of("all", "skip"), ago(60, 0), 0, now=NOW, busy=False) == TickPlan((NOW,), (), 1, NOW)


def test_overlap_queue_lets_ticks_wait_their_turn() -> None:
    assert plan(of("all", "queue"), ago(60, 0), 0, now=NOW, busy=True) == TickPlan((), (NOW - 60, NOW), 0, NOW)
    waiting = of("all", "queue", backlog=tuple(ago(180, 120)))
    assert plan(waiting, ago(60), 0, now=NOW, busy=False) == TickPlan((NOW - 180,), (NOW - 120, NOW - 60), 0, NOW - 60)
    assert plan(waiting, ago(60, 0), 0, now=NOW, busy=True) == TickPlan((), tuple(ago(120, 60, 0)), 1, NOW)


def test_what_waited_runs_once_overlap_is_allowed() -> None:
    waiting = of(backlog=tuple(ago(180, 120)))
    assert plan(waiting, ago(0), 0, now=NOW, busy=True).fire == (NOW - 180, NOW - 120, NOW)


def test_a_pause_fires_nothing_and_keeps_what_waits() -> None:
    waiting = of(overlap="queue", backlog=(1.0,), paused=True)
    assert plan(waiting, ago(0), 0, now=NOW, busy=False) == TickPlan((), (1.0,), 0, NOW)


def test_a_record_under_another_name_is_of_another_schedule() -> None:
    assert named(record(), "nightly") == record()
    with pytest.raises(ValueError, match="the record of 'nightly'"):
        named(record(), "hourly")
