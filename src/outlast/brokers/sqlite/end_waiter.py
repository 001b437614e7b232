"""Waits for jobs to end: one read at each notification serves all waits of a store."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import apsw
import msgspec

from outlast.aio.look import Look, look_until
from outlast.aio.notifier import Notifier
from outlast.brokers.sqlite.statements import statements

__all__ = ["EndWaiter", "ended"]

POLL: Final = 0.5
"""Seconds between two reads without a notification: one may be missed, or a job may expire."""
CHUNK: Final = 1000
"""Jobs of one read: other reads run between two."""


def ended(db: apsw.Connection, ids: Sequence[str], now: float) -> list[str]:
    """Return which of the jobs have ended by `now` or are unknown."""
    rows = db.execute(statements()["ended"], (msgspec.json.encode(ids).decode(), now))
    return [id_ for (id_,) in rows]


FindEnded = Callable[[Sequence[str]], Awaitable[Sequence[str]]]


class _EndWait:
    """One call that waits until all of its jobs have ended."""

    __slots__ = ("done", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class EndWaiter:
    """All waits of one store for jobs to end: thousands of them cost one read at each notification.

    It has no reference to the store, so that a store without references is collected even if it was not closed.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._waits: dict[str, set[_EndWait]] = {}
        self._task: asyncio.Task[None] | None = None

    async def wait(self, ids: Sequence[str], seen: int, timeout: float, *, find_ended: FindEnded) -> None:
        """Return when all these jobs have ended since notification number `seen`, or after `timeout` seconds.

        find_ended: returns which of some jobs have ended or are unknown. When it raises, every wait returns: each
        caller then reads its jobs itself and gets the error.
        """
        wanted = set(ids)
        wait = _EndWait(len(wanted))
        for id_ in wanted:
            self._waits.setdefault(id_, set()).add(wait)
        if self._notifier.count != seen:
            self._notifier.notify()  # a read that runs now may have missed that change
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch(find_ended), name="outlast end waiter")
        try:
            await asyncio.wait([wait.done], timeout=timeout)
        finally:
            for id_ in wanted:
                self._forget(id_, wait)
            if not self._waits and self._task is not None:
                self._task.cancel()
                self._task = None

    def _forget(self, id_: str, wait: _EndWait) -> None:
        waits = self._waits.get(id_)
        if waits is not None:
            waits.discard(wait)
            if not waits:
                del self._waits[id_]

    async def _watch(self, find_ended: FindEnded) -> None:
        async def look(_: float) -> Look[None]:
            ids = list(self._waits)
            try:
                for at in range(0, len(ids), CHUNK):
                    self._end(await find_ended(ids[at : at + CHUNK]))
            except Exception:
                self._end(list(self._waits), whole=True)
            return Look(None, done=False)

        await look_until(look, notifier=self._notifier, timeout=math.inf, poll=POLL)

    def _end(self, ids: Sequence[str], *, whole: bool = False) -> None:
        """Count these jobs as ended in each wait for them. whole: end these waits at once."""
        for id_ in ids:
            for wait in self._waits.pop(id_, ()):
                wait.left -= 1
                if (wait.left == 0 or whole) and not wait.done.done():
                    wait.done.set_result(None)
