"""Looks for calls in flight that have become slow: at the calls that come, and by a timer where none may come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from outlast.core.guards.answers import Transition
from outlast.core.guards.breaker import LocalBreaker

__all__ = ["TICK", "HungCalls"]

TICK: Final = 1.0
"""Seconds between two looks."""


class HungCalls:
    """The looks of one breaker. lock: of the breaker. next: when a call that comes is to look."""

    __slots__ = ("_breaker", "_clock", "_lock", "next")

    def __init__(self, breaker: LocalBreaker, lock: threading.RLock, clock: Callable[[], float]) -> None:
        self.next = clock()
        self._breaker = breaker
        self._lock = lock
        self._clock = clock

    def look(self, now: float, told: Callable[[Transition], None]) -> Transition:
        """Count the slow calls now, and once more later if this thread runs an event loop. The caller has the lock.

        told: takes what the later look has done, without the lock.
        """
        self.next = now + TICK
        loop = asyncio._get_running_loop()
        if loop is not None:
            loop.call_later(TICK, self._later, told)
        return self._breaker.tick(now)

    def _later(self, told: Callable[[Transition], None]) -> None:
        now = self._clock()
        if now < self.next - TICK / 2:
            return  # a call that came before this timer has looked, and has set a timer of its own
        opened: Transition = ""
        with self._lock, suppress(RuntimeError):  # the loop is closed
            if self._breaker.view(now).in_flight:
                opened = self.look(now, told)
        told(opened)
