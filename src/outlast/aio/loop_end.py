"""Closes what belongs to an event loop when the loop ends."""

from __future__ import annotations

import sys
from typing import Any, Protocol

__all__ = ["ClosedWithLoop", "at_loop_end"]


class ClosedWithLoop(Protocol):
    """An object that one event loop uses, and that must be closed on it."""

    async def aclose(self) -> None:
        """Close it; called at most once, when no other task runs any more."""
        ...


def at_loop_end(used: ClosedWithLoop) -> None:
    """Have `used.aclose()` awaited when the running loop ends by asyncio.run, asyncio.Runner or uvloop.run.

    The loop keeps a weak reference. A loop that is closed without `shutdown_asyncgens()` does not call it.
    """
    first: Any = sys.get_asyncgen_hooks().firstiter  # the loop closes its unfinished generators so
    if first is not None:
        first(used)
