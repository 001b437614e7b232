"""The protocol that keeps schedules and lets each tick be taken once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from outlast.core.schedule import Amendment, ScheduleAdvance, ScheduleEntry, ScheduleRecord
from outlast.core.store.control import Answer

__all__ = ["Schedules"]


class Schedules(Protocol):
    """Keep schedules, and let each tick be taken once. Records change by the rules of `core.ticking`."""

    async def schedules(self) -> list[ScheduleRecord]:
        """Return the records of all schedules, sorted by name."""
        ...

    async def enlist(self, entries: Sequence[ScheduleEntry]) -> list[ScheduleRecord]:
        """Declare these schedules in one step, by `core.ticking.enlisted`; return their records, aligned.

        Raise ConfigurationError, with nothing changed, for a schedule of another app.
        """
        ...

    async def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        """Make each move whose schedule still has the expected revision, and publish its messages in the same step.

        The answers align with the moves; False: another process was first, and nothing of the move was done. A full
        queue accepts and counts the messages, as it does follow-ups: no tick is lost for lack of room. Raise
        BodyTooLarge, with nothing changed, for a message over the store's limit.
        """
        ...

    async def amend(self, changes: Sequence[Amendment]) -> list[Answer]:
        """Apply operators' changes in order, in one step, by `core.ticking.amended`; wake the waiters of `amended`."""
        ...

    async def amended(self, since: int, timeout: float) -> int:
        """Return a number above `since` once an operator has changed schedules after the call that returned `since`.

        Begin with 0. After `timeout` seconds, return the present number. A change by another process may be detected
        late, but within the timeout.
        """
        ...
