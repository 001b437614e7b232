"""Schedules in words, their next runs and what is special about them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from outlast.core.schedule import ScheduleEntry, ScheduleRecord, Spec
from outlast.core.ticking import GRACE, ORPHANED, enlisted
from outlast.scheduler.words import local, next_runs, overdue, remarks, words

NOW = 1_700_000_000.0


def record(**changes: Any) -> ScheduleRecord:
    spec = Spec(cron="*/5 * * * *")
    entry = ScheduleEntry(name="tick", app="shop", kind="work", queue="q", spec=spec, version="v1")
    return structs.replace(enlisted(None, entry, NOW), **changes)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (Spec(cron="0 5 * * 1-5", tz="Europe/Berlin"), "at 05:00 on Monday through Friday, Europe/Berlin"),
        (Spec(cron="@daily"), "at 00:00 every day, UTC"),
        (Spec(cron="H H * * *"), "at 10:41 every day, UTC"),
        (Spec(every=60), "every minute"),
        (Spec(every="36h"), "every 36 hours"),
        (Spec(every="90s"), "every 90 seconds"),
        (Spec(every=0.1), "every 0.1 seconds"),
        (Spec(every="1h", jitter="10m"), "every hour, 75 s later"),
    ],
)
def test_words(spec: Spec, said: str) -> None:
    assert words(spec, "tick") == said


def test_the_next_runs() -> None:
    assert next_runs(record(), NOW) == [1_700_000_100.0 + 300 * n for n in range(5)]
    assert next_runs(record(), NOW + 1000, 1) == [1_700_001_300.0]
    assert next_runs(record(paused=True), NOW) == []


def test_a_time_by_the_clock_of_its_zone() -> None:
    spec = Spec(cron="* * * * *", tz="Europe/Berlin")
    assert local(1_700_000_040.0, spec, NOW) == "Tue 14 Nov 23:14 CET"
    assert local(1_710_000_000.0, spec, NOW) == "Sat 09 Mar 2024 17:00 CET"
    assert local(1_700_000_001.25, Spec(every=0.25), NOW) == "Tue 14 Nov 22:13:21.250 UTC"


def test_what_should_have_run() -> None:
    fresh = structs.replace(record(), seen=NOW + 100 + GRACE)
    assert overdue(fresh, NOW + 100 + GRACE) is None
    assert overdue(fresh, NOW + 101 + GRACE) == NOW + 100
    assert overdue(structs.replace(fresh, paused=True), NOW + 999) is None
    assert overdue(structs.replace(fresh, seen=NOW - 9999), NOW + 999) is None


def test_remarks() -> None:
    assert remarks(record(), NOW) == []
    strange = record(error="no", paused=True, asked=1.0, backlog=(1.0,), edited=Spec(every=60), seen=NOW - ORPHANED - 1)
    assert remarks(strange, NOW) == [
        "cannot run: no",
        "no live worker declares it",
        "paused",
        "a run was requested",
        "1 waiting for the previous run",
        "edited",
    ]
