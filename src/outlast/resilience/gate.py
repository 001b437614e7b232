"""A guard as a worker sees it, which hands out the jobs that need it: whether they may run, and who is the probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from outlast.core.guards.answers import Admission, CallOutcome
from outlast.resilience.guard import Guard
from outlast.resilience.lane import Lane

__all__ = ["RENEW", "Gate", "GateState", "Probe"]

RENEW: Final = 0.25
"""The share of its lease after which a probe without a call has it renewed: two renewals may be lost."""


class GateState(Struct, frozen=True):
    """share: of the slots that may run jobs, 0 while the guard is open. next_probe: seconds, None if there is none."""

    share: float
    next_probe: float | None = None


class Probe:
    """The one probe of a guard, for one run: its first guarded call, or else its own end, decides it.

    Its lease bounds the call, not the way of the run to it: until then, call `renew` after each RENEW of the lease.
    waits: whether it has neither made its call nor ended. lease: in seconds.
    """

    probes = True

    def __init__(self, guard: str, lane: Lane, admission: Admission, lease: float, clock: Callable[[], float]) -> None:
        self.guard = guard
        self.lease: Final = lease
        self.waits = True
        self._lane = lane
        self._clock = clock
        self._admission: Admission | None = admission
        self._renewed = admission.started

    @property
    def decided(self) -> bool:
        """Whether it has gone to a call, or has ended."""
        return self._admission is None

    def probe(self, now: float) -> Admission | None:
        """Return the admission of the first call, unless its lease has ended."""
        self.calls()
        admission, self._admission = self._admission, None
        if admission is None or not self._lane.is_probe(admission, now):
            return None
        admission.started = now  # the job's way to this call is not the dependency's time
        return admission

    def calls(self) -> None:
        """Renew the lease once more for the call that begins, here or in a child process, unless it is new."""
        if self._clock() - self._renewed >= RENEW * self.lease:
            self.renew()
        self.waits = False

    def renew(self) -> None:
        """Ask for the whole lease again, if it still waits for its call."""
        admission = self._admission
        if admission is not None and self.waits:
            self._renewed = self._clock()
            self._lane.renew_probe(admission)

    def ended(self, admission: Admission, outcome: CallOutcome) -> None:
        """Do nothing: the breaker has taken the end of the call."""

    def end(self, outcome: CallOutcome) -> None:
        """End it with the run, if no call has used it."""
        self.waits = False
        admission, self._admission = self._admission, None
        if admission is not None:
            self._lane.end_probe(admission, outcome)


class Gate:
    """The guard of some queues. Raise ConfigurationError for a guard without a breaker, or with one for each key."""

    def __init__(self, guard: Guard) -> None:
        self.name = guard.name
        self._guard = guard
        self._lane = guard._only_lane("view")
        assert guard.breaker is not None
        self.interval = guard.breaker.open_for
        """Seconds between two probes."""
        self.lease = guard.breaker.probe_lease
        """Seconds for which a probe is waited."""

    async def begin(self) -> None:
        """Adopt the state that all processes share, or go on without it when the store does not answer (FIRST_READ)."""
        await self._guard._wait_for_begin()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` after each change of the state, in whatever thread makes it, until `unwatch`."""
        self._lane.watch(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        """End `watch`."""
        self._lane.unwatch(changed)

    def state(self) -> GateState:
        """Return the state of this process, which follows the shared one."""
        view = self._lane.view()
        if view.state == "closed":
            return GateState(view.share)
        return GateState(0.0, None if view.state == "half-open" else view.next_probe)

    async def take_probe(self) -> Probe | None:
        """Take the probe for a job, if it is due and no other process has it."""
        admission = await self._lane.take_probe()
        return None if admission is None else Probe(self.name, self._lane, admission, self.lease, self._guard._clock)
