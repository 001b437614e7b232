"""The breaker and the bulkhead of one guard, or of one key of it: how a call comes in, and how it leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from math import inf
from typing import Final, Literal

from outlast.core.errors import BulkheadFull, ConfigurationError, DeadlinePassed, GuardOpen
from outlast.core.guards.answers import (
    PROBE_DUE,
    Admission,
    BreakerView,
    CallOutcome,
    Held,
    ProbeDue,
    Refusal,
    SharedBreaker,
    Transition,
)
from outlast.core.guards.breaker import LocalBreaker
from outlast.core.guards.policies import Breaker, Bulkhead, slow_limit
from outlast.resilience.bulkhead import Permits
from outlast.resilience.hung_calls import HungCalls
from outlast.resilience.left_probe import answered
from outlast.resilience.must_wait import MustWait
from outlast.resilience.news import NO_KEY, GuardNews, open_since
from outlast.resilience.passes import pass_of
from outlast.resilience.ports import GuardSharing, ProbeAnswer
from outlast.resilience.sharing import ANSWER, Sharing

__all__ = ["Lane"]

ON_LOOP: Final = 0.1
"""The most seconds for which a plain call blocks the event loop of its thread, to hear who has the probe."""
_NO_BREAKER: Final = Admission(0, 0.0)


class Lane:
    """Admits calls and takes their ends, from any thread.

    A call takes a permit of the bulkhead first, so that the breaker sees no call that still waits for its turn.

    While it holds its lock it takes no other, and nothing that holds another lock takes this one: the collector may
    close a generator with a block of any guard inside any locked section, and two threads could wait for each other.
    """

    __slots__ = (
        "_clock",
        "_hung",
        "_lock",
        "_name",
        "_news",
        "_open_since",
        "_shared",
        "_watchers",
        "breaker",
        "key",
        "permits",
        "users",
    )

    def __init__(
        self,
        name: str,
        breaker: Breaker | None,
        bulkhead: Bulkhead | None,
        timeout: float | None,
        clock: Callable[[], float],
        *,
        key: Hashable = NO_KEY,
        news: GuardNews | None = None,
    ) -> None:
        self.breaker: Final = None if breaker is None else LocalBreaker(breaker, clock(), timeout)
        self.permits: Final = None if bulkhead is None else Permits(name, bulkhead)
        self.users = 0
        """The callers that hold this lane; counted by `Lanes`."""
        self.key: Final = key
        """Of which key it is; NO_KEY for a guard without keys."""
        self._watchers: tuple[Callable[[], None], ...] = ()
        self._news = news
        self._open_since: float | None = None  # as it was told last
        self._name = name
        self._clock = clock
        # Reentrant: the collector may close a generator, with a block of this guard in it, inside any call.
        self._lock = threading.RLock()
        self._shared: Sharing | None = None  # None while the breaker is of this process only
        self._hung: HungCalls | None = None
        if self.breaker is not None and breaker is not None and slow_limit(breaker, timeout) < inf:
            self._hung = HungCalls(self.breaker, self._lock, clock)

    def share(self, link: GuardSharing) -> None:
        """Share the state of the breaker with the other processes from now on."""
        self._shared = Sharing(self._name, self._required(), link, self._lock, self._clock)

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed`, which returns at once, after each change of the breaker's state, in any thread, unlocked."""
        with self._lock:
            self._watchers = (*self._watchers, changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        """End `watch`."""
        with self._lock:
            self._watchers = tuple(each for each in self._watchers if each != changed)

    # Entering

    def enter_now(self, now: float) -> Admission | MustWait:
        """Admit a call without a wait, or return what it must wait for in `enter`; raise GuardOpen."""
        permits = self.permits
        if permits is not None and not permits.take():
            return MustWait.TURN
        if self.breaker is None:
            return _NO_BREAKER
        return self._admit(self.breaker, now)

    async def enter(self, wait: MustWait, ends: float | None) -> Admission:
        """Wait for what `enter_now` returned, at most until the deadline `ends`, then admit the call.

        Raise BulkheadFull, DeadlinePassed or GuardOpen.
        """
        if wait is MustWait.TURN:
            assert self.permits is not None
            try:
                await self.permits.wait(self._wait_allowed(ends))
            except BulkheadFull as error:
                raise self._refused(error, ends) from None
            admission = self._after_turn(ends)
            if admission is not MustWait.PROBE:
                return admission
        shared = self._sharing()
        asked = shared.ask()
        try:
            async with asyncio.timeout(self._answer_within(ends)):
                answer = await asyncio.shield(asyncio.wrap_future(asked))
        except BaseException as error:
            raise self._unanswered(shared, asked, error, ends) from None
        return self._granted(shared, answer, ends)

    def enter_blocking(self, wait: MustWait, ends: float | None) -> Admission:
        """Admit a call as `enter` does, and block the calling thread meanwhile.

        On an event loop it does not wait, but for ON_LOOP when the probe that was left for it has lapsed: calls that
        come more rarely than that would never make one.
        """
        on_loop = asyncio._get_running_loop() is not None
        if wait is MustWait.TURN:
            assert self.permits is not None
            allowed = self._wait_allowed(ends)
            try:
                self.permits.wait_blocking(0.0 if on_loop else allowed)
            except BulkheadFull as error:
                raise self._refused(error, ends) from None
            admission = self._after_turn(ends)
            if admission is not MustWait.PROBE:
                return admission
        shared = self._sharing()
        asked = shared.ask()
        if (
            on_loop
            and not asked.done()
            and not (shared.lapsed and answered(asked, min(ON_LOOP, self._answer_within(ends))))
        ):
            self.give_permit()
            shared.leave_to_next(asked)
            raise GuardOpen(self._name, ANSWER, _UNANSWERED)
        try:
            answer = asked.result(self._answer_within(ends))
        except BaseException as error:
            raise self._unanswered(shared, asked, error, ends) from None
        return self._granted(shared, answer, ends)

    def _wait_allowed(self, ends: float | None) -> float | None:
        """Return the seconds until the deadline; raise GuardOpen instead of a wait for a turn that would be refused."""
        now = self._clock()
        if self.breaker is not None and pass_of(self._name) is None:
            with self._lock:
                view = self.breaker.view(now)
            if view.state == "half-open" or (view.state == "open" and view.next_probe != 0):
                raise GuardOpen(self._name, view.next_probe or 1.0, view.why)
        return None if ends is None else max(0.0, ends - now)

    def _refused(self, error: BulkheadFull, ends: float | None) -> BulkheadFull | DeadlinePassed:
        late = -1.0 if ends is None else self._clock() - ends
        return error if late < 0 else DeadlinePassed(self._name, late)

    def _after_turn(self, ends: float | None) -> Admission | Literal[MustWait.PROBE]:
        """Admit a call that has its permit, after a wait for it."""
        now = self._clock()
        if ends is not None and now >= ends:
            self.give_permit()
            raise DeadlinePassed(self._name, now - ends)
        return _NO_BREAKER if self.breaker is None else self._admit(self.breaker, now)

    def _admit(self, breaker: LocalBreaker, now: float) -> Admission | Literal[MustWait.PROBE]:
        opened: Transition = ""
        with self._lock:
            if self._hung is not None and now >= self._hung.next:
                opened = self._hung.look(now, self._told)
            answer = breaker.admit(now)
            if type(answer) is not Admission:
                answer = self._granted_here(breaker, answer, now)
        if self._shared is not None and type(answer) is not Admission:
            self._shared.give_unused_back()
        if opened:
            self._told(opened)
        if type(answer) is Admission:
            return answer
        if answer is PROBE_DUE:
            return MustWait.PROBE
        assert isinstance(answer, Refusal)
        allowed = self._allowed(breaker, now)
        if allowed is not None:
            return allowed
        self.give_permit()
        raise GuardOpen(self._name, answer.retry_after, answer.why)

    def _granted_here(
        self, breaker: LocalBreaker, answer: Admission | Refusal | ProbeDue, now: float
    ) -> Admission | Refusal | ProbeDue:
        """Return the probe where no other process need be asked: it is of this process, or was left. Has the lock."""
        shared = self._shared
        if answer is PROBE_DUE and (shared is None or not breaker.shared):
            answer = breaker.grant_probe(now)
        if shared is not None and not isinstance(answer, Admission):
            answer = shared.take_left(now) or answer
        return answer

    def _allowed(self, breaker: LocalBreaker, now: float) -> Admission | None:
        """Return the admission of a refused call whose run came through a gate, as the probe or in the ramp."""
        allowed = pass_of(self._name)
        if allowed is None:
            return None
        with self._lock:
            view = breaker.view(now)
            if view.state == "closed":
                admission = breaker.grant_probe(now)  # that of an ordinary call, as it is closed
                return admission if isinstance(admission, Admission) else None
        return None if view.held else allowed.probe(now)

    # The probe of all processes

    async def take_probe(self) -> Admission | None:
        """Take the probe for a call to come, if it is due and no other process has it. It takes no permit."""
        breaker, now = self._required(), self._clock()
        with self._lock:
            if breaker.view(now).state != "open":
                return None
            answer = breaker.admit(now)
            if answer is PROBE_DUE and (self._shared is None or not breaker.shared):
                answer = breaker.grant_probe(now)
        if answer is not PROBE_DUE:
            return answer if isinstance(answer, Admission) else None
        admission = await self._sharing().take()
        if admission is None:
            return None
        if not admission.probe:  # it has closed meanwhile
            self.leave(admission, "neutral", self._clock(), permit=False)
            return None
        return admission

    def is_probe(self, admission: Admission, now: float) -> bool:
        """Whether the probe that is out has this admission, and its lease lasts."""
        with self._lock:
            return self._required().is_probe(admission, now)

    def renew_probe(self, admission: Admission) -> None:
        """Give this probe its whole lease again, as soon as the store agrees where it is the one of all processes."""
        if self._shared is None or not self._shared.renew(admission):
            with self._lock:
                self._required().renew_probe(admission, self._clock())

    def end_probe(self, admission: Admission, outcome: CallOutcome) -> None:
        """Take the end of a probe that made no call."""
        now = self._clock()
        admission.started = now  # a job's time is not the dependency's
        self.leave(admission, outcome, now, permit=False)

    def _sharing(self) -> Sharing:
        assert self._shared is not None
        return self._shared

    def _answer_within(self, ends: float | None) -> float:
        return ANSWER if ends is None else min(ANSWER, max(0.0, ends - self._clock()))

    def _unanswered(
        self, shared: Sharing, asked: Future[ProbeAnswer], error: BaseException, ends: float | None
    ) -> BaseException:
        """Give back what a call has that gets no answer in time, or is cancelled; return what it raises."""
        self.give_permit()
        now, late = self._clock(), isinstance(error, NoAnswer)
        passed = now - ends if late and ends is not None and now >= ends else None
        away = late and passed is None  # else this caller alone is gone: the next one may ask at once
        shared.not_used(asked, ANSWER if away else 0.0)
        if away:
            return GuardOpen(self._name, ANSWER, _UNANSWERED)
        return error if passed is None else DeadlinePassed(self._name, passed)

    def _granted(self, shared: Sharing, answer: ProbeAnswer, ends: float | None) -> Admission:
        """Admit a call by the answer, unless its deadline has passed meanwhile."""
        admission = shared.taken(answer)
        if isinstance(admission, Admission):
            now = self._clock()
            if ends is None or now < ends:
                return admission
            self.leave(admission, "neutral", now)
            raise DeadlinePassed(self._name, now - ends)
        self.give_permit()
        raise GuardOpen(self._name, admission.retry_after, admission.why)

    # Leaving

    def leave(self, admission: Admission, outcome: CallOutcome, now: float, *, permit: bool = True) -> None:
        """Take the end of a call. permit: whether it gives its permit back now."""
        if permit and self.permits is not None:
            self.permits.give_back()
        breaker = self.breaker
        if breaker is None:
            return
        with self._lock:
            result = breaker.end(admission, outcome, now)
        if admission.probe:
            self._probe_over(admission, result)
            if (allowed := pass_of(self._name)) is not None:
                allowed.ended(admission, outcome)
        elif result:
            self._told(result)

    def give_permit(self) -> None:
        """Give the permit of a call back."""
        if self.permits is not None:
            self.permits.give_back()

    def _probe_over(self, probe: Admission, result: Transition) -> None:
        if self._shared is None or not self._shared.ended(probe, result):
            self._told(result)
        self._changed()

    def _told(self, result: Transition) -> None:
        """Ask the other processes, after this one has opened on its own calls or by its own probe."""
        if not result:
            return
        if result == "opened" and self._shared is not None:
            self._shared.opened()
        self._changed()

    def _changed(self, *, shared: bool = False) -> None:
        news, breaker = self._news, self.breaker
        if news is not None and breaker is not None:
            now = self._clock()
            with self._lock:  # or an older state could be told after a newer one
                view, before = breaker.view(now), self._open_since
                since = self._open_since = open_since(view, before)
            if (since is None) != (before is None):
                news.changed(self.key, view, now, before=before, shared=shared)
        for each in self._watchers:
            each()

    # The state of the breaker

    def view(self) -> BreakerView:
        """Return the state of the breaker, with the calls in flight that have become slow."""
        breaker = self._required()
        with self._lock:
            opened = breaker.tick(self._clock())
        self._told(opened)
        with self._lock:
            return breaker.view(self._clock())

    def hold(self, held: Held) -> None:
        """Hold the breaker by hand; see `LocalBreaker.hold`."""
        with self._lock:
            self._required().hold(held, self._clock())
        self._changed()

    def adopt(self, state: SharedBreaker) -> None:
        """Follow the shared state."""
        with self._lock:
            self._required().adopt(state, self._clock())
        self._changed(shared=True)

    def _required(self) -> LocalBreaker:
        if self.breaker is None:
            raise ConfigurationError(f"guard {self._name!r} has no breaker: declare it with breaker=Breaker(...)")
        return self.breaker

    def idle(self) -> bool:
        """Whether nothing is lost when this lane, which has no users, is dropped. Called with the lock of `Lanes`."""
        permits = self.permits
        if permits is not None and (permits.taken or permits.waiting):
            return False
        return self.breaker is None or self.breaker.idle(self._clock())


_UNANSWERED: Final = "the store has not said in time which process makes the probe"
