"""Limits in the memory of one process: of the store `memory:`, and of a limiter whose store is away."""

from __future__ import annotations

from contextlib import AbstractContextManager
from heapq import heappop, heappush, heapreplace
from threading import RLock
from typing import TYPE_CHECKING, Final

from outlast.core.clock import Clock
from outlast.toolkit.limiter.decide import Outcome, State, decide
from outlast.toolkit.limiter.quotas import Rules

if TYPE_CHECKING:
    from outlast.toolkit.memory import ToolkitMemory

__all__ = ["MemoryLimits"]

MOST_KEYS: Final = 200_000
"""Keys of one process. One more forgets the key whose limits are soonest whole."""


class MemoryLimits:
    """The states of at most MOST_KEYS keys, for all threads. New keys take the place of expired ones."""

    def __init__(self, clock: Clock, lock: AbstractContextManager[object] | None = None) -> None:
        self._clock = clock
        self._lock = RLock() if lock is None else lock
        self._states: dict[str, tuple[State, int]] = {}
        self._ends: list[tuple[int, str]] = []
        """A heap of the ends that keys had when they came; the end of a key may be later by now."""

    @staticmethod
    def of(memory: ToolkitMemory) -> MemoryLimits:
        """Return the limits in the memory of a toolkit."""
        return memory.section("limiter", lambda: MemoryLimits(memory.clock, memory.lock))

    def __len__(self) -> int:
        return len(self._states)

    async def take(self, rules: Rules, key: str, cost: int) -> Outcome:
        """Decide, and take the cost if it is admitted."""
        return self.take_now(rules, key, cost)

    async def live(self, limiter: str, process: str) -> int:
        """Return 1: no other process reaches this memory."""
        return 1

    def take_now(self, rules: Rules, key: str, cost: int, *, scale: int = 1) -> Outcome:
        """Do the same at once. scale: see `decide`."""
        with self._lock:
            now = int(self._clock.time() * 1e6)
            found = self._states.get(key)
            if found is None:
                self._forget(now)
            outcome = decide(rules, found[0] if found is not None and found[1] > now else None, now, cost, scale=scale)
            if outcome.state is not None:
                self._states[key] = (outcome.state, outcome.expires)
                if found is None:
                    heappush(self._ends, (outcome.expires, key))
            return outcome

    def _forget(self, now: int) -> None:
        """Make room for a key: remove up to two that have expired (not all: it costs little), and any at the bound."""
        steps = 2
        while self._ends:
            end, key = self._ends[0]
            full = len(self._states) >= MOST_KEYS
            if not full and (end > now or not steps):
                return
            steps = max(0, steps - 1)
            later = self._states[key][1]
            if later > end:
                heapreplace(self._ends, (later, key))
            else:
                heappop(self._ends)
                del self._states[key]
