"""Wake every claim and wait when something changed, whichever event loop or thread it sleeps in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["Bell", "Ear"]


class Ear:
    """One sleeper. Anything that happens after `clear` ends the next `wait` at once, so no ring is missed."""

    __slots__ = ("_event", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def clear(self) -> None:
        """Forget earlier rings: call it before looking at the store."""
        self._event.clear()

    async def wait(self, seconds: float) -> None:
        """Return at the next ring, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()

    def wake(self) -> None:
        """Ring for this sleeper, from any thread."""
        with suppress(RuntimeError):  # its loop was closed: nobody sleeps there any more
            self._loop.call_soon_threadsafe(self._event.set)


class Bell:
    """Rings for all who listen."""

    __slots__ = ("_ears", "_lock")

    def __init__(self) -> None:
        self._ears: set[Ear] = set()
        self._lock = threading.Lock()

    @contextmanager
    def listen(self) -> Iterator[Ear]:
        """Listen for as long as the block runs."""
        ear = Ear()
        with self._lock:
            self._ears.add(ear)
        try:
            yield ear
        finally:
            with self._lock:
                self._ears.discard(ear)

    def ring(self) -> None:
        """Wake all who listen."""
        if self._ears:
            with self._lock:
                ears = tuple(self._ears)
            for ear in ears:
                ear.wake()
