"""Prints all fields of one job."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any, Final

from outlast.cli.output import show
from outlast.core.decide import UNRUNNABLE
from outlast.core.message import Failure, Usage
from outlast.core.store.records import JobRecord
from outlast.core.text import clean, duration, short

__all__ = ["attempt_of", "detail", "grouped"]

WAITING: Final = ("scheduled", "ready", "parked")
_REPEATED: Final = ("WorkerDied", "Crashed", *UNRUNNABLE)
"""Failures after which the same attempt is made again."""


def detail(record: JobRecord, waits_for: str = "") -> None:
    """Print the record and its failures; the traceback of the last failure only. waits_for: which guards hold it up."""
    now = time()
    state = record.state + (f" ({record.reason})" if record.reason and record.reason != record.state else "")
    show.facts(
        (
            ("job", record.id),
            ("kind", record.kind),
            ("state", (state, show.state(record.state)[1])),
            ("waiting", (waits_for, "bold yellow") if waits_for else ""),
            ("cancelling", "yes: its worker was asked to stop it" if record.cancelling else ""),
            ("attempt", attempt_of(record)),
            ("begun", "yes: it does not expire any more" if record.begun and record.expires_at is not None else ""),
            ("crashes", str(record.crashes) if record.crashes else ""),
            ("priority", record.priority),
            ("key", record.key or ""),
            ("unique", record.unique or ""),
            ("accepted", show.local_time(record.enqueued_at, now)),
            ("due", show.local_time(record.run_at, now) if record.finished_at is None else ""),
            ("expires", show.local_time(record.expires_at, now) if record.finished_at is None else ""),
            ("ended", show.local_time(record.finished_at, now)),
            ("took", _took(record)),
            ("holder", record.holder or ""),
            ("used", _usage(record.usage)),
            ("progress", _json(record.raw_progress)),
            ("effects", _json(record.raw_effects)),
            ("arguments", _json(record.args)),
            ("result", _json(record.raw_result)),
        )
    )
    before: Failure | None = None
    for failure, times in grouped(record.failures):
        show.say()
        if before is not None and failure.attempt <= before.attempt and before.type not in _REPEATED:
            show.say("made ready again after this, with all its attempts:")
            show.say()
        again = f" {times} times, the last time" if times > 1 else ""
        what = f"attempt {failure.attempt} failed{again} at"
        show.say(f"{what} {show.local_time(failure.at, now)}: {short(failure.type, 80)}")
        show.say(_indented(failure.message))
        before = failure
    if record.failures and record.failures[-1].traceback:
        show.say()
        show.say(_indented(record.failures[-1].traceback))


def attempt_of(record: JobRecord) -> str:
    """Return the number of the attempt: of a job that waits, of the one that comes next."""
    return f"{record.attempt}, the next one" if record.state in WAITING else str(record.attempt)


def grouped(failures: Sequence[Failure]) -> list[tuple[Failure, int]]:
    """Return each failed attempt once, with the number of its failures: a crash does not use up the attempt."""
    found: list[tuple[Failure, int]] = []
    for failure in failures:
        last, times = found[-1] if found else (None, 0)
        if last is not None and last.type in _REPEATED and (last.attempt, last.type) == (failure.attempt, failure.type):
            found[-1] = (failure, times + 1)
        else:
            found.append((failure, 1))
    return found


def _took(record: JobRecord) -> str:
    if record.finished_at is None:
        return ""
    run = "" if record.usage is None else f"; the last run {duration(record.usage.wall)}"
    return f"{duration(max(0.0, record.finished_at - record.enqueued_at))} from its acceptance{run}"


def _usage(usage: Usage | None) -> str:
    if usage is None:
        return ""
    memory = "" if usage.peak is None else f", {usage.peak / 1e6:.0f} MB at most"
    return f"{usage.cpu:.2f} s of CPU in {usage.wall:.2f} s{memory}"


def _json(value: Any) -> str:
    import msgspec

    return "" if value is None else msgspec.json.encode(value).decode()


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in clean(text).rstrip().split("\n"))
