"""The places of locks in the memory of one process; the plainest form, which the others are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from outlast.aio.notifier import Notifier
from outlast.toolkit.lock.store import TICKET, Ask, Holding, Turn
from outlast.toolkit.memory import ToolkitMemory

__all__ = ["MemoryLocks"]


class _Key:
    """Who holds a key (token, end of the lease), and who waits for it, in order (ticket, end of the place)."""

    __slots__ = ("holders", "line")

    def __init__(self) -> None:
        self.holders: dict[str, tuple[int, float]] = {}
        self.line: dict[str, tuple[int, float]] = {}

    def drop(self, now: float) -> None:
        for places in (self.holders, self.line):
            for holder in [holder for holder, (_, until) in places.items() if until <= now]:
                del places[holder]

    def ahead(self, holder: str) -> int:
        """Return how many have a turn, or a place before this one."""
        names = [*self.line]
        return len(self.holders) + (names.index(holder) if holder in self.line else len(names))

    def soon(self, holder: str, now: float) -> float:
        ends = [until for places in (self.holders, self.line) for who, (_, until) in places.items() if who != holder]
        return min(ends, default=now + TICKET) - now


class _Keys:
    def __init__(self) -> None:
        self.last = 0
        self.by_name: dict[str, _Key] = {}


class MemoryLocks:
    """The places, for all event loops and threads of the process."""

    def __init__(self, memory: ToolkitMemory) -> None:
        self._memory = memory
        self.keys = memory.section("lock", _Keys)

    def listen(self, key: str, holder: str) -> Notifier:
        """Return what is notified when a turn of the key may be free."""
        return self._memory.listen("lock")

    async def ask(self, ask: Ask) -> Turn:
        """Take a turn, keep it, or stand in line."""
        with self._memory.lock:
            now = self._memory.clock.monotonic()
            key = self.keys.by_name.setdefault(ask.key, _Key())
            key.drop(now)
            answer = self._placed(key, ask, now)
            self._forget(ask.key, key)
            return answer

    def _placed(self, key: _Key, ask: Ask, now: float) -> Turn:
        token = key.holders.get(ask.holder, (0, 0.0))[0]
        if not token and key.ahead(ask.holder) < ask.slots:
            key.line.pop(ask.holder, None)
            token = self._next(ask.seen)
        if token:
            key.holders[ask.holder] = (token, now + ask.lease)
            return Turn(token)
        ticket = 0
        if ask.join:
            ticket = key.line[ask.holder][0] if ask.holder in key.line else self._next(ask.seen)
            key.line[ask.holder] = (ticket, now + TICKET)
        return Turn(0, ticket, key.soon(ask.holder, now))

    def _next(self, seen: int) -> int:
        self.keys.last = max(self.keys.last + 1, int(self._memory.clock.time() * 1e6), seen + 1)
        return self.keys.last

    async def renew(self, held: Sequence[Holding]) -> set[str]:
        """Keep turns; return the holders that have none any more."""
        lost: set[str] = set()
        with self._memory.lock:
            now = self._memory.clock.monotonic()
            for each in held:
                key = self.keys.by_name.get(each.key)
                token, until = (0, 0.0) if key is None else key.holders.get(each.holder, (0, 0.0))
                if key is None or until <= now:
                    lost.add(each.holder)
                else:
                    key.holders[each.holder] = (token, now + each.lease)
        return lost

    async def leave(self, held: Holding) -> None:
        """Give up the turn or the place in line, and notify those who wait."""
        with self._memory.lock:
            key = self.keys.by_name.get(held.key)
            if key is None:
                return
            left = key.holders.pop(held.holder, None) or key.line.pop(held.holder, None)
            waited_for = left is not None and bool(key.line)
            self._forget(held.key, key)
        if waited_for:
            self._memory.listen("lock").notify()

    def _forget(self, name: str, key: _Key) -> None:
        """Keep nothing of a key that no one holds or waits for."""
        if not key.holders and not key.line:
            self.keys.by_name.pop(name, None)
