"""Who sleeps in this process until something happens on the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

__all__ = ["Bell", "Ear"]


class Ear:
    """One sleeper. What is rung after `clear` ends the next `wait` at once."""

    __slots__ = ("_event", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._event = asyncio.Event()

    def clear(self) -> None:
        """Forget earlier rings: call it before looking."""
        self._event.clear()

    async def wait(self, seconds: float) -> None:
        """Return at the next ring, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()

    def wake(self) -> None:
        """Ring for this sleeper."""
        self._event.set()


class Bell:
    """Rings for all who listen here. name: by which the server knows this process's bell."""

    def __init__(self) -> None:
        self.name = uuid4().hex
        self._ears: set[Ear] = set()
        self._given = 0
        self._free: list[str] = []
        """Names of sleepers that are awake: used again, or the server would keep one for each wait of a quiet day."""
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def listen(self) -> Iterator[Ear]:
        """Listen for as long as the block runs."""
        self._loop = asyncio.get_running_loop()
        if not self._free:
            self._given += 1
            self._free.append(f"{self.name}:{self._given}")
        ear = Ear(self._free.pop())
        self._ears.add(ear)
        try:
            yield ear
        finally:
            self._ears.discard(ear)
            self._free.append(ear.name)

    def ring(self) -> None:
        """Wake all who listen, from the loop's own thread."""
        for ear in self._ears:
            ear.wake()

    def ring_from_anywhere(self) -> None:
        """Wake all who listen, from any thread."""
        if self._ears and self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed: nobody sleeps there any more
                self._loop.call_soon_threadsafe(self.ring)
