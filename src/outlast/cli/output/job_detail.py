"""Prints all fields of one job."""

from __future__ import annotations

from time import time
from typing import Any

from outlast.cli.output import show
from outlast.core.message import Usage
from outlast.core.store.records import JobRecord
from outlast.core.text import clean, short, when

__all__ = ["detail"]


def detail(record: JobRecord) -> None:
    """Print the record and its failures; the traceback of the last failure only."""
    now = time()
    state = record.state + (f" ({record.reason})" if record.reason and record.reason != record.state else "")
    show.facts(
        (
            ("job", record.id),
            ("kind", record.kind),
            ("state", (state, show.state(record.state)[1])),
            ("cancelling", "yes: its worker was asked to stop it" if record.cancelling else ""),
            ("attempt", str(record.attempt)),
            ("begun", "yes: it does not expire any more" if record.begun and record.expires_at is not None else ""),
            ("crashes", str(record.crashes) if record.crashes else ""),
            ("priority", record.priority),
            ("key", record.key or ""),
            ("unique", record.unique or ""),
            ("accepted", show.local_time(record.enqueued_at, now)),
            ("due", show.local_time(record.run_at, now) if record.finished_at is None else ""),
            ("expires", show.local_time(record.expires_at, now) if record.finished_at is None else ""),
            ("ended", show.local_time(record.finished_at, now)),
            ("holder", record.holder or ""),
            ("used", _usage(record.usage)),
            ("progress", _json(record.raw_progress)),
            ("arguments", _json(record.args)),
            ("result", _json(record.raw_result)),
        )
    )
    for failure in record.failures:
        show.say()
        show.say(f"attempt {failure.attempt} failed {when(failure.at, now)}: {short(failure.type, 80)}")
        show.say(_indented(failure.message))
    if record.failures and record.failures[-1].traceback:
        show.say()
        show.say(_indented(record.failures[-1].traceback))


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
