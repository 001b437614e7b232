"""Who sleeps in this process until something happens on the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from outlast.aio.ear import Ear

__all__ = ["Bell"]


class _Named(Ear):
    """A sleeper that the server can be told to ring for."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class Bell:
    """Rings for all who listen here. name: by which the server knows this process's bell."""

    def __init__(self) -> None:
        self.name = uuid4().hex
        self._ears: set[_Named] = set()
        self._given = 0
        self._free: list[str] = []
        """Names of sleepers that are awake: used again, or the server would keep one for each wait of a quiet day."""
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def listen(self) -> Iterator[_Named]:
        """Listen for as long as the block runs."""
        self._loop = asyncio.get_running_loop()
        if not self._free:
            self._given += 1
            self._free.append(f"{self.name}:{self._given}")
        ear = _Named(self._free.pop())
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
