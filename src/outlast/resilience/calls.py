"""Makes guarded calls: one attempt with its admission and its timeout, the repeats after it, and the fallback."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
from collections.abc import Callable
from random import Random
from time import sleep
from typing import Any, Final

from outlast.aio.deadlines import Deadlines, Within
from outlast.aio.threads import Threads
from outlast.core.calls import is_async
from outlast.core.errors import BulkheadFull, DeadlinePassed, GuardTimeout
from outlast.core.guards.answers import Admission, CallOutcome
from outlast.core.guards.classify import outcome_of_error, outcome_of_value
from outlast.core.guards.retrying import Allowance, may_be_repeated
from outlast.meters import meters
from outlast.resilience.attempts import Attempts, discard, discard_blocking
from outlast.resilience.blocking import BlockingCall
from outlast.resilience.deadlines import bounded, moment
from outlast.resilience.fallback import Answers
from outlast.resilience.guard_metrics import GuardCounts
from outlast.resilience.lane import Lane
from outlast.resilience.must_wait import MustWait
from outlast.resilience.settings import GuardSettings

__all__ = ["Calls"]

THREADS: Final = 64
"""The threads in which a guard runs plain functions, if its bulkhead does not say another number."""
MOST_THREADS: Final = 1000
"""The most threads that the keys of a guard share, unless one key alone may use more."""
FAIR: Final = 0.5
"""A call that its caller's deadline ends has failed if it had this share of the guard's timeout; if it had less, it
says nothing about the dependency."""


class _OfThread(threading.local):
    """The deadlines of this thread's event loop, with one timer for all guards."""

    def __init__(self) -> None:
        self.deadlines = Deadlines()


_here: Final = _OfThread()


class Calls:
    """The calls of one guard: on any event loop, and the `..._blocking` ones in any thread."""

    def __init__(self, settings: GuardSettings, clock: Callable[[], float], rng: Random) -> None:
        self.clock: Final = clock
        self.allowance: Final = None if settings.budget is None else Allowance(settings.budget)
        self.counts: Final = GuardCounts(settings.name)
        self._success = self.counts.success
        self.answers: Final = None if settings.fallback is None else Answers(settings.name, settings.fallback)
        self._settings = settings
        self._rng = rng
        self._lock = threading.RLock()  # of the budget; reentrant as that of a Lane
        self._name = settings.name
        self._timeout = settings.timeout
        self._retries = settings.retry is not None
        breaker = settings.breaker
        self._failures = None if breaker is None else breaker.failures
        self._ignore = () if breaker is None else breaker.ignore
        self._threads: tuple[int, Threads] | None = None

    # A call: its attempts, then the fallback

    async def make(self, lane: Lane, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call; return its value, or raise its last error."""
        if self.answers is not None:
            self.answers.check(function, blocking=False)
        began = self.clock()
        try:
            value = await self._attempt(lane, function, args, kwargs, began)
        except Exception as error:
            if not self._retries and self.answers is None:
                raise
            attempts = self._attempts(began)
            attempts.raised(error)
        else:
            if not self._retries or not may_be_repeated(value):
                return value
            attempts = self._attempts(began)
            attempts.returned(value)
        while (delay := attempts.delay()) is not None:
            await discard(attempts.value)
            await asyncio.sleep(delay)
            self.counts.retries.add()
            try:
                attempts.returned(await self._attempt(lane, function, args, kwargs, self.clock()))
            except Exception as error:
                attempts.raised(error)
        failed = attempts.error
        try:
            if failed is None:
                return attempts.value
            if self.answers is not None and self.answers.covers(failed):
                return await self.answers.instead_of(failed, args, kwargs)
            raise failed
        finally:
            attempts.error = failed = None  # a frame that keeps its own error lives until the next collection

    def make_blocking(self, lane: Lane, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call in this thread, which waits and sleeps; a timeout does not interrupt it."""
        if self.answers is not None:
            self.answers.check(function, blocking=True)
        began = self.clock()
        try:
            value = self._attempt_blocking(lane, function, args, kwargs)
        except Exception as error:
            if not self._retries and self.answers is None:
                raise
            attempts = self._attempts(began)
            attempts.raised(error)
        else:
            if not self._retries or not may_be_repeated(value):
                return value
            attempts = self._attempts(began)
            attempts.returned(value)
        while (delay := attempts.delay_blocking()) is not None:
            discard_blocking(attempts.value)
            sleep(delay)
            self.counts.retries.add()
            try:
                attempts.returned(self._attempt_blocking(lane, function, args, kwargs))
            except Exception as error:
                attempts.raised(error)
        failed = attempts.error
        try:
            if failed is None:
                return attempts.value
            if self.answers is not None and self.answers.covers(failed):
                return self.answers.instead_of_blocking(failed, args, kwargs)
            raise failed
        finally:
            attempts.error = failed = None

    def _attempts(self, began: float) -> Attempts:
        settings = self._settings
        return Attempts(
            settings.retry,
            self.allowance,
            idempotent=settings.idempotent,
            began=began,
            clock=self.clock,
            rng=self._rng,
            lock=self._lock,
            over_budget=self.counts.over_budget.add,
        )

    # One attempt

    async def _attempt(
        self, lane: Lane, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], now: float
    ) -> Any:
        ends = moment()
        try:
            if ends is not None and now >= ends:
                raise DeadlinePassed(self._name, now - ends)
            admission = lane.enter_now(now)
            if type(admission) is MustWait:
                admission = await self._waited(lane, admission, ends, now)
                now = self.clock()
        except BaseException as error:
            self.counts.not_made(error)
            raise
        assert isinstance(admission, Admission)
        limit = self._timeout
        if ends is not None and (limit is None or ends - now < limit):
            limit = ends - now
        if not is_async(function):
            return await self._in_thread(lane, admission, functools.partial(function, *args, **kwargs), limit)
        within: Within | None = None
        try:
            if limit is None:
                value = await function(*args, **kwargs)
            else:
                within = _here.deadlines.within(limit)
                with within:
                    value = await function(*args, **kwargs)
        except BaseException as error:
            cut = self.failed(lane, admission, error, within, limit)
            if cut is None:
                raise
            raise cut from error
        self.succeeded(lane, admission, value)
        return value

    async def _in_thread(self, lane: Lane, admission: Admission, call: Callable[[], Any], limit: float | None) -> Any:
        blocking = BlockingCall(lane, call)
        threads = self._own_threads()
        within: Within | None = None
        try:
            if limit is None:
                value = await _whole(blocking, threads)
            else:
                within = _here.deadlines.within(limit)
                with within, bounded(limit):
                    value = await _whole(blocking, threads)
        except BaseException as error:
            if not blocking.begun:  # no thread was free, or could be started, which says nothing about the dependency
                lane.leave(admission, "neutral", self.clock(), permit=False)
                full = within is not None and within.timed_out
                refusal = BulkheadFull(self._name, self._thread_count) if full else error
                self.counts.not_made(refusal)
                if full:
                    raise refusal from None
                raise
            cut = self.failed(lane, admission, error, within, limit, in_thread=True)
            if cut is None:
                raise
            raise cut from error
        self.succeeded(lane, admission, value, permit=False)
        return value

    def _attempt_blocking(self, lane: Lane, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        admission = self.enter_blocking(lane)
        try:
            if self._timeout is None:
                value = function(*args, **kwargs)
            else:
                with bounded(self._timeout):
                    value = function(*args, **kwargs)
        except BaseException as error:
            self.failed(lane, admission, error)
            raise
        self.succeeded(lane, admission, value)
        return value

    def enter_blocking(self, lane: Lane) -> Admission:
        """Return the admission of a call of this thread; raise GuardRefused."""
        now, ends = self.clock(), moment()
        try:
            if ends is not None and now >= ends:
                raise DeadlinePassed(self._name, now - ends)
            admission = lane.enter_now(now)
            if isinstance(admission, MustWait):
                return self._waited_blocking(lane, admission, ends, now)
            return admission
        except BaseException as error:
            self.counts.not_made(error)
            raise

    async def enter(self, lane: Lane) -> tuple[Admission, Within | None, float | None]:
        """Return the admission of a block of this task, and what ends the block in time, not entered yet."""
        now, ends = self.clock(), moment()
        try:
            if ends is not None and now >= ends:
                raise DeadlinePassed(self._name, now - ends)
            admission = lane.enter_now(now)
            if isinstance(admission, MustWait):
                admission = await self._waited(lane, admission, ends, now)
                now = self.clock()
        except BaseException as error:
            self.counts.not_made(error)
            raise
        limit = self._timeout
        if ends is not None and (limit is None or ends - now < limit):
            limit = ends - now
        return admission, None if limit is None else _here.deadlines.within(limit), limit

    async def _waited(self, lane: Lane, wait: MustWait, ends: float | None, began: float) -> Admission:
        """Wait as `Lane.enter` does; note how long, if it is for a permit."""
        try:
            return await lane.enter(wait, ends)
        finally:
            if wait is MustWait.TURN:
                self.counts.waits.observe(max(0.0, self.clock() - began))

    def _waited_blocking(self, lane: Lane, wait: MustWait, ends: float | None, began: float) -> Admission:
        try:
            return lane.enter_blocking(wait, ends)
        finally:
            if wait is MustWait.TURN:
                self.counts.waits.observe(max(0.0, self.clock() - began))

    # The end of an attempt

    def succeeded(self, lane: Lane, admission: Admission, value: object, *, permit: bool = True) -> None:
        """Count a call that has returned."""
        try:
            outcome = outcome_of_value(value, self._failures)
        except BaseException:  # the classifier is user code
            outcome = "neutral"
        lane.leave(admission, outcome, self.clock(), permit=permit)
        if outcome == "success":
            meters.numbers[self._success.at] += 1.0  # as `CountSeries.add`, whose call would take 3% of a guarded call
            if self.allowance is not None:
                with self._lock:
                    self.allowance.succeeded()
        else:
            self.counts.ended[outcome].add()

    def failed(
        self,
        lane: Lane,
        admission: Admission,
        error: BaseException,
        within: Within | None = None,
        limit: float | None = None,
        *,
        in_thread: bool = False,
    ) -> GuardTimeout | None:
        """Count a call that has raised. Return the error to raise instead, if the guard has ended the call."""
        cut: GuardTimeout | None = None
        outcome: CallOutcome | None = None
        if within is not None and within.timed_out and limit is not None and isinstance(error, TimeoutError):
            cut = GuardTimeout(self._name, limit, running=in_thread)
            if self._timeout is None or limit < self._timeout:
                cut.add_note(f"the deadline of its caller left {limit:.3g} s for it")
                outcome = "neutral" if self._timeout is not None and limit < FAIR * self._timeout else None
        if outcome is None:
            outcome = self._judged(error if cut is None else cut)
        lane.leave(admission, outcome, self.clock(), permit=not in_thread)
        (self.counts.ended[outcome] if cut is None or outcome == "neutral" else self.counts.timeouts).add()
        return cut

    def _judged(self, error: BaseException) -> CallOutcome:
        try:
            return outcome_of_error(error, self._failures, self._ignore)
        except BaseException:  # the classifier, and the classes of the error, are user code
            return "neutral"

    # Threads

    @property
    def _thread_count(self) -> int:
        bulkhead = self._settings.bulkhead
        if bulkhead is None:
            return THREADS
        if self._settings.key is None:
            return bulkhead.concurrency
        # Keys that hang must leave threads for the others. A thread is started only when it is needed.
        return max(bulkhead.concurrency, min(bulkhead.concurrency * self._settings.max_keys, MOST_THREADS))

    def _own_threads(self) -> Threads:
        process = os.getpid()
        if self._threads is None or self._threads[0] != process:  # a fork does not copy threads
            self._threads = (process, Threads(self._thread_count, f"outlast-guard-{self._name}"))
        return self._threads[1]


async def _whole(blocking: BlockingCall, threads: Threads) -> Any:
    """Return what the function returns; what it only prepares, such as a coroutine, is awaited here."""
    value = await blocking.result(threads)
    return await value if inspect.isawaitable(value) else value
