"""Why the jobs of a queue wait: the guards that it needs, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from outlast.core.guards.ramp import share
from outlast.core.guards.record import GuardRecord, probe_due, state_of
from outlast.core.text import duration

__all__ = ["WAITS_FOR", "waits_for"]

WAITS_FOR: Final = "waits for"
"""What a reason begins with; the name of a guard follows."""


def waits_for(needs: Sequence[str], records: Iterable[GuardRecord], now: float) -> str:
    """Return why the jobs of a queue with these needs wait, such as "waits for payments: open for 41 s, next probe in
    4 s"; "" where no guard holds them up.

    records, now: of one `GuardsView`. The names come in the order of `needs`. A guard that is open in single processes
    alone holds up no other process, and is not told.
    """
    known = {record.name: record for record in records}
    told = [f"{name}: {why}" for name in needs if (record := known.get(name)) and (why := _why(record, now))]
    return f"{WAITS_FOR} {'; '.join(told)}" if told else ""


def _why(record: GuardRecord, now: float) -> str:
    if not record.open:
        closed_at = record.closed_at
        part = 1.0 if closed_at is None or record.held else share(now - closed_at, record.rules.ramp)
        return "" if part == 1.0 else f"closed again, {part:.0%} of the slots until the ramp ends"
    for_ = f"open for {duration(max(0.0, now - record.since))}"
    if record.held:
        return f"{for_}, held open by an operator"
    due = probe_due(record)
    if state_of(record, now) == "half-open":
        return f"{for_}, a probe is running"
    return (
        f"{for_}, next probe in {duration(due - now)}" if due is not None and due > now else f"{for_}, a probe is due"
    )
