"""What the breaker of a lane shares with the other processes: it tells of its openings, and asks for the one probe."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from outlast.core.guards.answers import Admission, Refusal, Transition
from outlast.core.guards.breaker import LocalBreaker
from outlast.resilience.left_probe import LeftProbe
from outlast.resilience.ports import GuardSharing, ProbeAnswer

__all__ = ["ANSWER", "Sharing"]

ANSWER: Final = 1.0
"""Seconds in which the link must say whether this process has the probe; else the call is refused."""


class Sharing:
    """The probe of all processes, as one breaker asks for it, has it, and gives it back. From any thread.

    lock: of the breaker. link: to the other processes.
    """

    __slots__ = ("_breaker", "_clock", "_leased", "_left", "_link", "_lock", "_name", "_unused")

    def __init__(
        self,
        name: str,
        breaker: LocalBreaker,
        link: GuardSharing,
        lock: threading.RLock,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._breaker = breaker
        self._link = link
        self._lock = lock
        self._clock = clock
        self._leased: Admission | None = None  # the probe that the store has given
        self._left: LeftProbe | None = None
        self._unused = False

    def opened(self) -> None:
        """Ask the other processes, after this one has opened on its own calls or by its own probe."""
        self._link.tripped(self._name)

    def ask(self) -> Future[ProbeAnswer]:
        """Ask for the probe; `taken`, `not_used` or `leave_to_next` must follow."""
        return self._link.take_probe(self._name)

    async def take(self) -> Admission | None:
        """Ask for the probe and take it, None if it is not given within ANSWER; an ordinary call if it has closed."""
        asked = self.ask()
        try:
            async with asyncio.timeout(ANSWER):
                answer = await asyncio.shield(asyncio.wrap_future(asked))
        except BaseException as error:
            late = isinstance(error, TimeoutError)
            self.not_used(asked, ANSWER if late else 0.0)
            if late:
                return None
            raise
        admission = self.taken(answer)
        return admission if isinstance(admission, Admission) else None

    def taken(self, answer: ProbeAnswer) -> Admission | Refusal:
        """Return the admission of the probe, that of an ordinary call if it has closed, or why there is none."""
        now = self._clock()
        with self._lock:
            if answer.granted and now < answer.at:
                admission = self._breaker.grant_probe(now, answer.at)
            else:  # also when the lease has ended before this: another process may have the probe by now
                self._breaker.pass_probe(now, answer.at)
                admission = Refusal(max(0.0, answer.at - now), "another process makes the probe")
            if isinstance(admission, Admission) and admission.probe:
                self._leased = admission
                return admission
        if answer.granted:
            self._give_back()
        return admission

    def not_used(self, asked: Future[ProbeAnswer], again: float) -> None:
        """Give back a probe that may still be given to a caller that is gone; another may ask in `again` seconds."""
        now = self._clock()
        with self._lock:
            self._breaker.pass_probe(now, now + again)

        def give_back(done: Future[ProbeAnswer]) -> None:
            if not done.cancelled() and done.exception() is None and done.result().granted:
                self._give_back()

        asked.add_done_callback(give_back)

    def ended(self, probe: Admission, result: Transition) -> bool:
        """Report the end of the probe; False if the store has not given it: it is of this process alone."""
        if probe is not self._leased:
            return False
        self._leased = None
        self._link.probe_ended(self._name, result)
        return True

    # A lease that is renewed

    def renew(self, probe: Admission) -> bool:
        """Ask for the whole lease of this probe again; False if the store has not given it."""
        with self._lock:
            if probe is not self._leased:
                return False
        self._link.renew_probe(self._name).add_done_callback(functools.partial(self._renewed, probe))
        return True

    def _renewed(self, probe: Admission, asked: Future[ProbeAnswer]) -> None:
        if asked.cancelled() or asked.exception() is not None or not (answer := asked.result()).granted:
            return
        with self._lock:
            self._breaker.renew_probe(probe, self._clock(), answer.at)

    # A probe that comes too late for a call that could not wait for it

    @property
    def lapsed(self) -> bool:
        """Whether a probe that was left to the next call was given back, because none came in time."""
        return self._left is not None and self._left.lapsed

    def leave_to_next(self, asked: Future[ProbeAnswer]) -> None:
        """Leave the probe that is given later to the next call: this one cannot wait on its loop."""
        now = self._clock()
        with self._lock:
            self._breaker.pass_probe(now, now + ANSWER)
            if self._left is None:
                self._left = LeftProbe(self._lock, self._clock, self._give_back)
        self._left.leave(asked)

    def take_left(self, now: float) -> Admission | None:
        """Return the admission of a probe that was left, None if there is none, or none to be made any more.

        The caller has the lock, and calls `give_unused_back` without it.
        """
        answer = None if self._left is None else self._left.take()
        if answer is None:
            return None
        if now < answer.at and self._breaker.view(now).state != "closed":
            admission = self._breaker.grant_probe(now, answer.at)
            if isinstance(admission, Admission):
                self._leased = admission
                return admission
        self._unused = True
        return None

    def give_unused_back(self) -> None:
        """Give the probe back that `take_left` has found, and that may not be made any more."""
        if self._unused:
            self._unused = False
            self._give_back()

    def _give_back(self) -> None:
        self._link.probe_ended(self._name, "")
