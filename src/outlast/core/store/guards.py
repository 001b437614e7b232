"""The protocol that keeps the state of guards, which processes share, and lets each change be made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from outlast.core.guards.record import GuardRecord, GuardsView

__all__ = ["Guards"]


class Guards(Protocol):
    """Keep one record a guard. Records change by the rules of `core.guards.record`; a store decides nothing."""

    async def guards(self) -> GuardsView:
        """Return all records by name, `rebased`, with the time of the clock that their times are of.

        The clock is one for all processes that reach the store, and a wall clock that is set does not move it. A record
        that cannot be read is left out, with a line in the log. A read writes nothing.
        """
        ...

    async def swap(self, records: Sequence[GuardRecord]) -> list[bool]:
        """Store each record, in a step of its own, if the stored revision is one less; wake the waiters.

        The answers align with the records; False: another process was first, and that record is as it was. None stored
        counts as revision 0, and so does one that cannot be read. If nothing was stored, no waiter wakes.
        """
        ...

    async def guards_changed(self, since: int, timeout: float) -> int:
        """Return another number than `since` once a swap has stored something after the call that returned `since`.

        Begin with 0. After `timeout` seconds, return the present number. A change by another process may be missed:
        read the records again after the timeout.
        """
        ...
