"""A sleeper that is woken by a ring, or by time, and misses no ring."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["Ear"]


class Ear:
    """One sleeper of the running loop. Anything that rings after `clear` ends the next `wait` at once."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def clear(self) -> None:
        """Forget earlier rings: call it before looking at what may have changed."""
        self._event.clear()

    async def wait(self, seconds: float) -> None:
        """Return at the next ring, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()

    def wake(self) -> None:
        """Ring for this sleeper, from its loop's own thread."""
        self._event.set()
