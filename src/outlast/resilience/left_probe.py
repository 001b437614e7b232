"""The probe that the store gives too late for a call that could not wait for it: the next call has it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

from outlast.resilience.ports import ProbeAnswer

__all__ = ["LeftProbe", "answered"]


class LeftProbe:
    """Keeps the probe for half its lease, then gives it back to the other processes.

    A plain call on an event loop never waits for the store. Without this, a process that makes all its calls so would
    never make a probe. lock: of the breaker. lapsed: whether the last one that was kept was given back.
    """

    __slots__ = ("_clock", "_give_back", "_kept", "_lock", "lapsed")

    def __init__(self, lock: threading.RLock, clock: Callable[[], float], give_back: Callable[[], None]) -> None:
        self._lock = lock
        self._clock = clock
        self._give_back = give_back
        self._kept: ProbeAnswer | None = None
        self.lapsed = False

    def leave(self, asked: Future[ProbeAnswer]) -> None:
        """Keep the probe from when it is given. Call it on a loop, which ends that."""
        loop = asyncio.get_running_loop()

        def keep(done: Future[ProbeAnswer]) -> None:
            if done.cancelled() or done.exception() is not None or not (answer := done.result()).granted:
                return
            with self._lock:
                self._kept = answer
            try:
                loop.call_soon_threadsafe(loop.call_later, max(0.0, answer.at - self._clock()) / 2, self._end, answer)
            except RuntimeError:  # the loop is closed
                self._end(answer)

        asked.add_done_callback(keep)

    def take(self) -> ProbeAnswer | None:
        """Return the probe that is kept, for the caller to make or to give back. The caller has the lock."""
        kept, self._kept = self._kept, None
        if kept is not None:
            self.lapsed = False
        return kept

    def _end(self, answer: ProbeAnswer) -> None:
        with self._lock:
            if self._kept is not answer:
                return
            self._kept = None
            self.lapsed = True
        self._give_back()


def answered(asked: Future[ProbeAnswer], within: float) -> bool:
    """Block this thread until the answer is there, at most so many seconds; return whether it is."""
    return bool(wait((asked,), within).done)
