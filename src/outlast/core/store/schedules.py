"""Keep schedules, and let each tick be taken once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from outlast.core.schedule import Amendment, ScheduleAdvance, ScheduleEntry, ScheduleRecord
from outlast.core.store.control import Answer

__all__ = ["Schedules"]


class Schedules(Protocol):
    """Keep schedules, and let each tick be taken once: what `core.ticking` says of a record is what is stored."""

    async def schedules(self) -> list[ScheduleRecord]:
        """Return all that are known, by name."""
        ...

    async def enlist(self, entries: Sequence[ScheduleEntry]) -> list[ScheduleRecord]:
        """Declare these schedules, in one step, and return their records, aligned: `core.ticking.enlisted`.

        Raise ConfigurationError, with nothing changed, for one of another app.
        """
        ...

    async def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        """Make each move whose schedule still has the revision it expects, and publish its messages in the same step.

        The answers align with the moves; False: somebody else was first, and nothing of the move has happened. Messages
        pass a full queue, counted, as follow-ups do: a tick is not lost for want of room. Raise BodyTooLarge, with
        nothing changed, for a message over the store's limit.
        """
        ...

    async def amend(self, changes: Sequence[Amendment]) -> list[Answer]:
        """Apply changes by people, in order, in one step: `core.ticking.amended`. Wakes who waits in `amended`."""
        ...

    async def amended(self, since: int, timeout: float) -> int:
        """Return a number above `since` once schedules were changed by people after the call that returned `since`.

        Begin with 0. After `timeout` seconds it returns what there is. A change by another process may be heard of
        late, but within the timeout.
        """
        ...
