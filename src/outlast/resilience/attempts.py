"""The attempts of one guarded call after its first: counts them, and asks the pure rules whether the next is made."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from random import Random
from time import time as wall_time
from typing import Any, Final

from outlast.core.errors import GuardRefused
from outlast.core.guards.retrying import OVER_BUDGET, Allowance, Refused, Repeat, may_be_repeated, next_attempt
from outlast.core.policy import Retry, seconds
from outlast.resilience.deadlines import moment

__all__ = ["Attempts", "discard", "discard_blocking"]


class Attempts:
    """Made when the first attempt has ended with an error, or with a response that may be repeated.

    error, value: how the last attempt ended. began: when the first one did, by `clock`.
    lock: held while the budget of all calls of the guard is charged. over_budget: called when it is used up.
    """

    def __init__(
        self,
        retry: Retry | None,
        allowance: Allowance | None,
        *,
        idempotent: bool,
        began: float,
        clock: Callable[[], float],
        rng: Random,
        lock: threading.RLock,
        over_budget: Callable[[], object],
    ) -> None:
        self.error: Exception | None = None
        self.value: Any = None
        self._retry: Final = retry
        self._allowance = allowance
        self._idempotent = idempotent
        self._began = began
        self._clock = clock
        self._rng = rng
        self._lock = lock
        self._over_budget = over_budget
        self._ended = 0
        self._over = retry is None

    def raised(self, error: Exception) -> None:
        """Take the error of an attempt. A repeat that a guard refuses is over, with the error of the attempt before."""
        self._ended += 1
        if self._ended > 1 and isinstance(error, GuardRefused):
            self._over = True
            if self.error is not None:
                self.error.add_note(f"not repeated: {error}")
                return
        self.error, self.value = error, None

    def returned(self, value: Any) -> None:
        """Take the value of an attempt."""
        self._ended += 1
        self._over = self._over or not may_be_repeated(value)
        self.error, self.value = None, value

    def delay(self) -> float | None:
        """Return the seconds until the next attempt, None for no more; then the error says why in a note."""
        if self._over or self._retry is None:
            return None
        decision = self._decide(self._retry, self.value if self.error is None else self.error)
        if isinstance(decision, Repeat):
            return decision.delay
        self._over = True
        if decision is OVER_BUDGET:
            self._over_budget()
        if self._retry.attempts > 1 and self.error is not None and not isinstance(self.error, GuardRefused):
            self.error.add_note(f"not repeated: {decision.why}")
        return None

    def delay_blocking(self) -> float | None:
        """Return the delay for a thread that sleeps meanwhile: none on the thread of an event loop."""
        if not self._over and asyncio._get_running_loop() is not None:
            self._over = True
            if self.error is not None:
                self.error.add_note("not repeated: the wait would stop the event loop: use 'await guard.call(...)'")
        return self.delay()

    def _decide(self, retry: Retry, answer: object) -> Repeat | Refused:
        now, ends = self._clock(), moment()
        try:
            with self._lock:
                decision = next_attempt(
                    retry,
                    answer,
                    attempt=self._ended,
                    elapsed=now - self._began,
                    left=None if ends is None else ends - now,
                    idempotent=self._idempotent,
                    allowance=self._allowance,
                    wall=wall_time(),
                    rng=self._rng,
                )
            if isinstance(decision, Repeat):
                seconds(decision.delay, f"the delay of {type(retry.backoff).__name__}")
        except Exception as error:  # a backoff, and the classes in `retry_on`, may be user code
            return Refused(f"its retry rules raised {type(error).__name__}: {error}")
        return decision


async def discard(response: object) -> None:
    """Give the connection of a response back that another attempt replaces."""
    for name in ("aclose", "release", "close"):
        close = getattr(response, name, None)
        if callable(close):
            with suppress(Exception):  # such as that of a response without a stream
                done = close()
                if inspect.isawaitable(done):
                    await done
                return


def discard_blocking(response: object) -> None:
    """Do the same from blocking code."""
    close = getattr(response, "close", None)
    if callable(close):
        with suppress(Exception):
            close()
