"""Wake every claim and wait when something changed, whichever event loop or thread it sleeps in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from outlast.aio.ear import Ear

__all__ = ["Bell"]


class _Far(Ear):
    """A sleeper that any thread may ring for."""

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        """Ring for this sleeper, from any thread."""
        with suppress(RuntimeError):  # its loop was closed: nobody sleeps there any more
            self._loop.call_soon_threadsafe(self._event.set)


class Bell:
    """Rings for all who listen."""

    __slots__ = ("_ears", "_lock")

    def __init__(self) -> None:
        self._ears: set[_Far] = set()
        self._lock = threading.Lock()

    @contextmanager
    def listen(self) -> Iterator[Ear]:
        """Listen for as long as the block runs."""
        ear = _Far()
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
