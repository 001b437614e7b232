"""Waiting for rings, and for jobs to end: one look at a ring for all of a store's waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import apsw
import msgspec

from outlast.brokers.sqlite.statements import statements

__all__ = ["Ends", "Rings", "ended"]

POLL: Final = 0.5
"""Seconds after which the waits for ends look again, should a ring have been missed or a job have expired."""
CHUNK: Final = 1000
"""Jobs of one look: other reads come in between."""


class Rings:
    """Counts rings and wakes who waits for the next one."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake whoever waits."""
        self.count += 1
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def wait(self, seen: int, timeout: float) -> None:
        """Return at the first ring after number `seen`, or after `timeout` seconds."""
        if self.count != seen:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait([future], timeout=timeout)
        finally:
            self._waiting.discard(future)


def ended(db: apsw.Connection, ids: Sequence[str], now: float) -> list[str]:
    """Return which of the jobs have ended by `now`, or are not known."""
    rows = db.execute(statements()["ended"], (msgspec.json.encode(ids).decode(), now))
    return [id_ for (id_,) in rows]


Look = Callable[[Sequence[str]], Awaitable[Sequence[str]]]


class _Wait:
    """One call that waits until as many jobs as it named have ended."""

    __slots__ = ("done", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Ends:
    """All waits of one store for jobs to end. Thousands of them cost one look at a ring, not one each.

    It does not hold the store, which may be dropped unclosed.
    """

    def __init__(self, rings: Rings) -> None:
        self._rings = rings
        self._waits: dict[str, set[_Wait]] = {}
        self._task: asyncio.Task[None] | None = None

    async def wait(self, ids: Sequence[str], seen: int, timeout: float, *, look: Look) -> None:
        """Return when all these jobs have ended since ring number `seen`, or after `timeout` seconds.

        look: returns which of some jobs have ended or are not known. When it raises, every wait is over: each caller
        looks for itself, and is told.
        """
        wanted = set(ids)
        wait = _Wait(len(wanted))
        for id_ in wanted:
            self._waits.setdefault(id_, set()).add(wait)
        if self._rings.count != seen:
            self._rings.ring()  # one that the look under way may have come too early for
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch(look), name="outlast ends")
        try:
            await asyncio.wait([wait.done], timeout=timeout)
        finally:
            for id_ in wanted:
                self._forget(id_, wait)
            if not self._waits and self._task is not None:
                self._task.cancel()
                self._task = None

    def _forget(self, id_: str, wait: _Wait) -> None:
        waits = self._waits.get(id_)
        if waits is not None:
            waits.discard(wait)
            if not waits:
                del self._waits[id_]

    async def _watch(self, look: Look) -> None:
        while True:
            seen = self._rings.count
            ids = list(self._waits)
            try:
                for at in range(0, len(ids), CHUNK):
                    self._tell(await look(ids[at : at + CHUNK]))
            except Exception:
                self._tell(list(self._waits), whole=True)
            await self._rings.wait(seen, POLL)

    def _tell(self, ids: Sequence[str], *, whole: bool = False) -> None:
        for id_ in ids:
            for wait in self._waits.pop(id_, ()):
                wait.left -= 1
                if (wait.left == 0 or whole) and not wait.done.done():
                    wait.done.set_result(None)
