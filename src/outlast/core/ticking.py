"""Pure rules of schedule records: how declarations and operators change them, and which ticks fire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, structs

from outlast.core.errors import BodyTooLarge, ConfigurationError
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
from outlast.core.settlement import ACCEPTED, Exists, Published
from outlast.core.store.control import Answer

__all__ = [
    "CLOCK_SET_BACK",
    "GRACE",
    "TOUCH",
    "UNREADABLE_SCHEDULE",
    "TickPlan",
    "advanced",
    "amended",
    "check_sizes",
    "enlisted",
    "named",
    "needs_touch",
    "orphaned",
    "plan",
    "position",
    "stands_back",
]

GRACE: Final = 120.0
"""Seconds after which a tick counts as missed, unless the next one is due earlier."""
TOUCH: Final = 15.0
"""Seconds after which a live worker declares a schedule again."""
STALE: Final = 45.0
"""Seconds without a declaration after which an older version of the code may take a schedule back: 3 x TOUCH."""
ORPHANED: Final = 120.0
"""Seconds without a declaration after which a schedule counts as undeclared: a restart of all workers takes less."""
CLOCK_SET_BACK: Final = 3600.0
"""Seconds before the last tick from which on the clock counts as set back; a smaller difference is waited for."""
KNOWN_VERSIONS: Final = 10
UNREADABLE_SCHEDULE: Final = (
    "schedule %r cannot be read, and stands still: a worker that declares it starts it again, "
    "outlast schedules remove %s removes it: %s"
)
"""What the log tells of a record that cannot be read: with its name, its name, and the error."""


def named(record: ScheduleRecord, name: object) -> ScheduleRecord:
    """Return a record that was stored under `name`; raise ValueError for one of another schedule."""
    if record.name != name:
        raise ValueError(f"it is the record of {record.name!r}")
    return record


def enlisted(record: ScheduleRecord | None, entry: ScheduleEntry, now: float) -> ScheduleRecord:
    """Return the record after `entry` was declared at `now`; raise ConfigurationError for a schedule of another app.

    A new version takes the schedule over at once. A replaced version takes it back only when the present version has
    not been declared for STALE seconds: while old and new workers run side by side, the new code decides, and after a
    rollback the old code. When the spec changes, ticks count from now and an operator's edit ends.
    """
    if record is None:
        return ScheduleRecord(
            name=entry.name,
            app=entry.app,
            kind=entry.kind,
            queue=entry.queue,
            declared=entry.spec,
            version=entry.version,
            seen=now,
            upto=now,
        )
    if record.app != entry.app:
        raise ConfigurationError(
            f"schedule {entry.name!r} belongs to app {record.app!r} in this store, and app {entry.app!r} declares it "
            "too: give one of them another name with name=..."
        )
    if record.version == entry.version:
        return structs.replace(record, seen=now)
    if entry.version in record.older and abs(now - record.seen) < STALE:
        return record
    older = (record.version, *(each for each in record.older if each != entry.version))[:KNOWN_VERSIONS]
    taken = structs.replace(
        record,
        kind=entry.kind,
        queue=entry.queue,
        version=entry.version,
        older=older,
        seen=now,
        error="",
        revision=record.revision + 1,
    )
    if entry.spec == record.declared:
        return taken
    return structs.replace(taken, declared=entry.spec, edited=None, upto=now, backlog=())


def needs_touch(record: ScheduleRecord | None, entry: ScheduleEntry, now: float) -> bool:
    """Tell whether declaring `entry` again would change the record enough to be worth a write."""
    if record is None or record.app != entry.app:
        return True
    if record.version == entry.version:
        return abs(now - record.seen) >= TOUCH
    return not stands_back(record, entry, now)


def stands_back(record: ScheduleRecord, entry: ScheduleEntry, now: float) -> bool:
    """Tell whether a newer version of the code declared the schedule recently: the older one then fires nothing."""
    return record.version != entry.version and entry.version in record.older and abs(now - record.seen) < STALE


def orphaned(record: ScheduleRecord, now: float) -> bool:
    """Tell whether no live worker declares the schedule."""
    return abs(now - record.seen) > ORPHANED


def amended(
    record: ScheduleRecord | None, change: Amendment, now: float, *, damaged: bool = False
) -> tuple[ScheduleRecord | None, Answer]:
    """Return the record after an operator's change (None when it was removed) and the answer.

    damaged: there is a record that cannot be read (`record` is None): it can only be removed.
    """
    if record is None:
        if damaged and isinstance(change, RemoveSchedule):
            return None, Answer(True, 1)
        return None, Answer(False, why="unreadable" if damaged else "unknown")
    again = structs.replace(record, revision=record.revision + 1)
    match change:
        case EditSchedule():
            if change.spec == record.edited:
                return record, Answer(True, 0)
            return structs.replace(again, edited=change.spec, upto=now, error=""), Answer(True, 1)
        case PauseSchedule():
            if change.on == record.paused:
                return record, Answer(True, 0)
            return structs.replace(again, paused=change.on, upto=record.upto if change.on else now), Answer(True, 1)
        case RunSchedule():
            return structs.replace(again, asked=now), Answer(True, 1)
        case _:
            if orphaned(record, now):
                return None, Answer(True, 1)
            return record, Answer(False, why="declared")


def check_sizes(moves: Sequence[ScheduleAdvance], limit: int) -> None:
    """Raise BodyTooLarge when a message is over `limit` bytes. Call it before any of the moves is made."""
    for message in (message for move in moves for message in move.messages):
        size = memoryview(message.args).nbytes
        if size > limit:
            raise BodyTooLarge(message.kind, size, limit)


def advanced(record: ScheduleRecord, move: ScheduleAdvance, answers: Sequence[Published]) -> ScheduleRecord:
    """Return the record after `move`. answers: those of the publish of its messages.

    A tick whose id is known was published before and is not counted again; a tick whose unique key another job holds
    counts as skipped.
    """
    conflicts = [each for each in answers if isinstance(each, Exists) and each.by == "unique"]
    last = record.last
    if move.messages:
        answer = answers[-1]
        last = answer.id if isinstance(answer, Exists) else move.messages[-1].id
    return structs.replace(
        record,
        upto=move.upto,
        backlog=move.backlog,
        last=last,
        last_tick=record.last_tick if move.tick is None else move.tick,
        fired=record.fired + sum(each == ACCEPTED for each in answers),
        skipped=record.skipped + move.skipped + len(conflicts),
        error=move.error,
        asked=None if move.served else record.asked,
        revision=record.revision + 1,
    )


def position(record: ScheduleRecord, now: float) -> float:
    """Return the time after which ticks count: `upto`, or now when the clock was set back by more than an hour.

    Otherwise a clock that once was far in the future would stop the schedule until that time. No tick is published
    twice: its id is known.
    """
    return now if now < record.upto - CLOCK_SET_BACK else record.upto


class TickPlan(Struct, frozen=True):
    """Which ticks fire now, which wait, how many are skipped, and up to which time ticks are taken."""

    fire: tuple[float, ...]
    backlog: tuple[float, ...]
    skipped: int
    upto: float


def plan(record: ScheduleRecord, due: Sequence[float], passed: int, *, now: float, busy: bool) -> TickPlan:
    """Decide which ticks fire.

    due: the ticks after `position` that are due at `now`, ascending, at least the last `misfire_limit`. passed: how
    many earlier ticks `due` leaves out. busy: the previous run has not ended. Only the newest tick can be on time: a
    tick is missed when the next one is due, or after GRACE.
    """
    if record.paused:
        return TickPlan((), record.backlog, 0, record.upto)
    spec = record.spec
    chosen = _timely(spec, due, now)
    skipped = passed + len(due) - len(chosen)
    upto = due[-1] if due else position(record, now)
    waiting = (*record.backlog, *chosen)
    match spec.overlap:
        case "allow":
            return TickPlan(waiting, (), skipped, upto)
        case "skip":
            fire = () if busy else waiting[-1:]
            return TickPlan(fire, (), skipped + len(waiting) - len(fire), upto)
        case _:
            fire = () if busy else waiting[:1]
            rest = waiting[len(fire) :]
            kept = rest[-spec.misfire_limit :]
            return TickPlan(fire, kept, skipped + len(rest) - len(kept), upto)


def _timely(spec: Spec, due: Sequence[float], now: float) -> tuple[float, ...]:
    match spec.misfire:
        case "skip":
            return tuple(due[-1:]) if due and now - due[-1] <= GRACE else ()
        case "latest":
            return tuple(due[-1:])
        case _:
            return tuple(due[-spec.misfire_limit :])
