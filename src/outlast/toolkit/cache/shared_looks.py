"""Many callers that read one key at once share one look into the store: the next that begins after they came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, Final, Generic, TypeVar

__all__ = ["SharedLooks"]

T = TypeVar("T")


_Place = tuple[asyncio.AbstractEventLoop, str]


class _Running:
    """A look that is under way. ended: it has ended; following: the look that begins then."""

    __slots__ = ("ended", "following")

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] | None = None
        self.following: asyncio.Task[Any] | None = None


class SharedLooks(Generic[T]):
    """Looks by key, for all event loops. look: looks into the store; its errors reach all who share it."""

    def __init__(self, look: Callable[[str], Awaitable[T]]) -> None:
        self._look: Final = look
        self._running: dict[_Place, _Running] = {}

    async def look(self, key: str) -> T:
        """Return what a look finds that begins during this call: at most two for one key, however many call."""
        loop = asyncio.get_running_loop()
        place = (loop, key)
        running = self._running.get(place)
        if running is None:
            running = self._running[place] = _Running()
            try:
                return await self._look(key)
            finally:
                self._end(place, running)
        if running.following is None:
            running.ended = loop.create_future()
            # Without the context of the caller: its deadline is not that of the others.
            work = self._follow(place, running.ended)
            running.following = loop.create_task(work, name="outlast-cache-look", context=Context())
            running.following.add_done_callback(_seen_by_none)
        found: T = await asyncio.shield(running.following)
        return found

    async def _follow(self, place: _Place, ended: asyncio.Future[None]) -> T:
        await ended
        running = self._running[place] = _Running()
        try:
            return await self._look(place[1])
        finally:
            self._end(place, running)

    def _end(self, place: _Place, running: _Running) -> None:
        if self._running.get(place) is running:
            del self._running[place]
        if running.ended is not None and not running.ended.done():
            running.ended.set_result(None)


def _seen_by_none(task: asyncio.Task[T]) -> None:
    """Take the error of a look whose callers are all cancelled, or asyncio logs it."""
    if not task.cancelled():
        task.exception()
