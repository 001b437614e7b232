"""Describe schedules in words, for the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

from cronsim import CronSim

from outlast.core.schedule import ScheduleRecord, Spec
from outlast.core.spread import offset_of, spread
from outlast.core.ticking import GRACE, orphaned, position
from outlast.scheduler.ticks import Ticks, zone

__all__ = ["local", "next_runs", "overdue", "remarks", "words"]

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def words(spec: Spec, name: str) -> str:
    """Return when a schedule runs: "at 05:00 on Monday through Friday, Europe/Berlin"."""
    if spec.cron is not None:
        text = CronSim(spread(spec.cron, name), datetime(2024, 1, 1, tzinfo=UTC)).explain()
        described = f"{text[0].lower()}{text[1:]}, {spec.tz}"
    else:
        described = f"every {_length(spec.every or 0.0)}"
    delay = offset_of(name, spec.jitter)
    return f"{described}, {delay:g} s later" if delay else described


def _length(seconds: float) -> str:
    for unit, noun in _UNITS:
        count = seconds / unit
        if count >= 1 and count == int(count):
            return noun if count == 1 else f"{count:g} {noun}s"
    return f"{seconds:g} seconds"


def next_runs(record: ScheduleRecord, now: float, most: int = 5) -> list[float]:
    """Return the next `most` ticks, none while paused; raise ConfigurationError for a spec without ticks here."""
    if record.paused:
        return []
    return list(islice(Ticks(record.spec, record.name).iterate(max(now, position(record, now))), most))


def overdue(record: ScheduleRecord, now: float) -> float | None:
    """Return the tick that should have fired by now but did not, None when there is none."""
    if record.paused or orphaned(record, now):
        return None
    tick = Ticks(record.spec, record.name).after(position(record, now))
    return tick if tick is not None and tick < now - GRACE else None


def remarks(record: ScheduleRecord, now: float) -> list[str]:
    """Return remarks about the state of a schedule, the worst first."""
    found = []
    if record.error:
        found.append(f"cannot run: {record.error}")
    if orphaned(record, now):
        found.append("no live worker declares it")
    if record.paused:
        found.append("paused")
    if record.asked is not None:
        found.append("a run was requested")
    if record.backlog:
        found.append(f"{len(record.backlog)} waiting for the previous run")
    if record.edited is not None:
        found.append("edited")
    return found


def local(at: float, spec: Spec, now: float) -> str:
    """Return a wall time in the schedule's zone: "Tue 24 Nov 05:00 CET"."""
    moment, today = (datetime.fromtimestamp(each, zone(spec.tz)) for each in (at, now))
    day = moment.strftime("%a %d %b" if moment.year == today.year else "%a %d %b %Y")
    clock = moment.strftime("%H:%M:%S" if at % 60 else "%H:%M")
    millis = f".{round(at % 1 * 1000):03d}" if at % 1 else ""
    return f"{day} {clock}{millis} {moment.strftime('%Z')}"
