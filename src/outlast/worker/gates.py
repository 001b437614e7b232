"""The gates of queues that need guards: none of their jobs while one is open, one for a probe, few in a ramp."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Final

from outlast.core.errors import StoreError
from outlast.core.guards.ramp import slots_of
from outlast.core.guards.waits import WAITS_FOR
from outlast.core.registry import Registry
from outlast.resilience.gate import Gate, GateState, Probe
from outlast.resilience.guard import Guard
from outlast.resilience.passes import Pass, RampPass
from outlast.worker.budget import Budget
from outlast.worker.probe_leases import ProbeLeases
from outlast.worker.run import Run
from outlast.worker.store_link import StoreLink

__all__ = ["Gates", "gates_of"]

_logger = logging.getLogger("outlast.worker")

FRESH: Final = 0.01
"""Seconds for which the state of a guard is not read again, unless it changes."""
RAMP_STEP: Final = 0.25
"""Seconds between two looks whether the ramp lets more jobs run."""
_SOONEST: Final = 0.05
_RAMP: Final = RampPass()


def gates_of(registry: Registry, queues: Sequence[str], budget: Budget, link: StoreLink) -> Gates | None:
    """Return the gates of these queues; None if none of them needs a guard."""
    needs = {queue: names for queue, names in registry.needs().items() if queue in queues}
    if not needs:
        return None
    gates: dict[str, Gate] = {}
    for name in dict.fromkeys(name for names in needs.values() for name in names):
        guard = registry.guards[name]
        assert isinstance(guard, Guard)
        gates[name] = Gate(guard)
    return Gates(needs, gates, budget, link)


def _told_nothing(queue: str, why: str) -> None:
    """Take the news of a guard that has opened where no claim can be ended."""


class Gates:
    """Bounds what a worker asks of queues that need guards. Call every method in the event loop's thread.

    While a guard is open, its queues are asked for no job, and `shut` is called for what they have handed out. When its
    probe is due, the store is asked once an interval whether one of these queues has a ready job; if so, the next claim
    with room takes the probe for it. After the closing, the queue has a share of the slots that grows with time.

    needs: the guards of each queue. shut: takes a queue and why, when its gate shuts. active: whether any gate is shut
    or in a ramp; while none is, nothing else here needs to be called. used: whether a run has ever had a pass.
    """

    def __init__(
        self, needs: Mapping[str, Sequence[str]], gates: Mapping[str, Gate], budget: Budget, link: StoreLink
    ) -> None:
        self.shut: Callable[[str, str], None] = _told_nothing
        self.active = False
        self.used = False
        self._needs = needs
        self._gates = gates
        self._budget = budget
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._leases = ProbeLeases(self._loop)
        self._slots = {queue: budget.slots(queue) for queue in needs}
        self._states: dict[str, GateState] = {}
        self._read_at = -1.0
        self._closed: set[str] = set()
        """Queues that were held when it was last looked."""
        self._ready: set[str] = set()
        """Queues with a ready job and a probe that is due: the next claim with room takes it."""
        self._probes: dict[str, tuple[Probe, ...]] = {}
        """The probes that this worker has for the next job of a queue."""
        self._until: dict[str, float] = {}
        self._looked: dict[str, float] = {}
        self._tried: dict[str, int] = {}
        """When each queue last had probes, counted: the one that has waited longest is first."""
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None
        self._ended = False

    # Begin and end

    async def begin(self, shut: Callable[[str, str], None] = _told_nothing) -> None:
        """Read the shared state of all guards before the first claim, within FIRST_READ, and follow it from now on.

        shut: called with a queue, and why, when a guard of it opens.
        """
        self.shut = shut
        await asyncio.gather(*(gate.begin() for gate in self._gates.values()))
        for gate in self._gates.values():
            gate.watch(self._changed_elsewhere)
        self._changed()

    def close(self) -> None:
        """Follow no guard any more, and give the probes back that no run has."""
        self._ended = True
        for gate in self._gates.values():
            gate.unwatch(self._changed_elsewhere)
        if self._timer is not None:
            self._timer.cancel()
        if self._look is not None:
            self._look.cancel()
        for queue in list(self._probes):
            self._give_back(queue)

    # What to claim

    async def bounded(self, demand: dict[str, int]) -> dict[str, int]:
        """Return the demand with what the guards allow; take the probe for a queue that has room and a ready job."""
        ready = [each for each in self._ready if demand.get(each)]
        for queue in sorted(ready, key=lambda each: self._tried.get(each, 0)):
            self._ready.discard(queue)
            await self._take_probes(queue)
        return self.bound(demand)

    def bound(self, demand: dict[str, int]) -> dict[str, int]:
        """Return the demand with what the guards allow; 1 for a queue whose probe this worker has, or would take."""
        held: Counter[str] | None = None
        now = self._link.clock.monotonic()
        for queue in self._needs:
            wanted = demand.get(queue, 0)
            if not wanted:
                continue
            share = self._share(queue)
            if share == 0.0:
                demand[queue] = int(queue in self._ready or now < self._until.get(queue, 0.0))
            elif share < 1.0:
                if held is None:
                    held = Counter(run.delivery.message.queue for run in self._budget.runs)
                demand[queue] = max(0, min(wanted, slots_of(share, self._slots[queue]) - held[queue]))
        return demand

    def holds(self, queue: str) -> bool:
        """Whether no job of the queue may be handed out now."""
        return queue in self._needs and self._share(queue) == 0.0 and queue not in self._probes

    def claimed(self, demand: Mapping[str, int], handed_out: bool) -> None:
        """Give the probes back that a claim with this demand has found no job for.

        handed_out: it has handed out other jobs, and may have had no room for this one. A probe is not kept for longer
        than half of its lease.
        """
        now = self._link.clock.monotonic()
        for queue in list(self._probes):
            if (demand.get(queue) and not handed_out) or now >= self._until[queue]:
                self._give_back(queue)

    def _share(self, queue: str) -> float:
        """Return the share of the slots that the guards of the queue allow it."""
        return min(self._state(name).share for name in self._needs[queue])

    def _state(self, name: str) -> GateState:
        now = self._loop.time()
        if now >= self._read_at + FRESH:
            self._states.clear()
            self._read_at = now
        state = self._states.get(name)
        if state is None:
            state = self._states[name] = self._gates[name].state()
        return state

    # What was handed out

    def admits(self, run: Run) -> bool:
        """Whether a claimed run may begin; it gets the passes that its calls need."""
        queue = run.delivery.message.queue
        needs = self._needs.get(queue)
        if needs is None:
            return True
        probes = self._probes.pop(queue, ())
        if not probes and self._share(queue) == 1.0:
            return True
        self._until.pop(queue, None)  # without the probe, no job is asked for
        passes: dict[str, Pass] = {name: _RAMP for name in needs if 0.0 < self._state(name).share < 1.0}
        passes.update((probe.guard, probe) for probe in probes)
        if any(self._state(name).share == 0.0 and name not in passes for name in needs):
            for probe in probes:
                probe.end("neutral")
            return False
        run.passes = passes
        self.used = True
        if probes:
            self._leases.add(run, probes)
        return True

    def why(self, queue: str) -> str:
        """Return which guards hold the queue, in words."""
        names = [name for name in self._needs.get(queue, ()) if self._state(name).share == 0.0]
        return f"{WAITS_FOR} {', '.join(names)}"

    # Changes of the guards

    def _changed_elsewhere(self) -> None:
        """Look at the guards: one has changed, in any thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._changed)

    def _changed(self) -> None:
        """Act on the states as they are: shut gates, open them, and set the timer for what comes next."""
        if self._ended:
            return
        self._states.clear()
        self.active = any(self._state(name).share < 1.0 for name in self._gates)
        self._ready = {queue for queue in self._ready if self._share(queue) == 0.0}
        shut: list[tuple[str, str]] = []
        for queue in self._needs:
            held = self._share(queue) == 0.0
            if held and queue not in self._closed:
                self._closed.add(queue)
                why = self.why(queue)
                _logger.warning("queue %r %s: its jobs stay in the store", queue, why)
                shut.append((queue, why))
            elif not held and queue in self._closed:
                self._closed.discard(queue)
                self._give_back(queue)
                _logger.info("queue %r goes on: the guards that it needs are closed", queue)
        for queue in [each for each in self._probes if not self._suffices(each)]:
            self._give_back(queue)
        for queue, why in shut:
            self.shut(queue, why)
        self._budget.room.set()
        self._set_timer()

    def _set_timer(self) -> None:
        """Wake when a probe is due, or when a ramp has gone on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        waits = [RAMP_STEP for name in self._gates if 0.0 < self._state(name).share < 1.0]
        for queue in self._closed:
            due = self._due_in(queue, now)
            leases = min(self._gates[name].lease for name in self._needs[queue])
            told = due is None or queue in self._ready or queue in self._probes or self._look is not None
            waits.append(leases if told or due is None else due)
        if waits:
            self._timer = self._loop.call_later(max(_SOONEST, min(waits)), self._timed)

    def _due_in(self, queue: str, now: float) -> float | None:
        """Return the seconds until it is worth a look whether the queue has a job for the probes of its guards.

        None while a guard is held open, or a call of this process is its probe: a change is told, or the lease ends.
        """
        due = self._looked.get(queue, 0.0) - now
        for name in self._needs[queue]:
            state = self._state(name)
            if state.share == 0.0:
                if state.next_probe is None:
                    return None
                due = max(due, state.next_probe)
        return max(0.0, due)

    def _timed(self) -> None:
        self._timer = None
        self._states.clear()
        self.active = any(self._state(name).share < 1.0 for name in self._gates)
        now = self._loop.time()
        due = self._due(now)
        if due and self._look is None:
            for queue in due:
                interval = max(self._gates[name].interval for name in self._needs[queue])
                self._looked[queue] = now + interval
            self._look = self._loop.create_task(self._look_for_jobs(due), name="outlast gates", context=Context())
        self._budget.room.set()
        self._set_timer()

    # The probe

    async def look(self) -> None:
        """Act on the states as they are, and let the next claim take the probes that are due now: without the timer."""
        self._changed()
        due = self._due(self._loop.time())
        if due:
            await self._look_for_jobs(due)

    def _due(self, now: float) -> list[str]:
        """Return the queues for which it is to be looked whether they have a job for the probes of their guards."""
        untaken = [queue for queue in self._closed if queue not in self._probes and queue not in self._ready]
        return [queue for queue in untaken if self._due_in(queue, now) == 0.0]

    async def _look_for_jobs(self, queues: Sequence[str]) -> None:
        """Let the next claim take the probes of those queues that have a job for it."""
        try:
            stats = await self._link.once(lambda store: store.broker.stats(queues))
        except StoreError:
            return  # the claimer reports the outage; the next look comes after the interval
        finally:
            self._look = None
            if not self._ended:
                self._set_timer()
        for queue in queues:
            found = stats.get(queue)
            if found is not None and found.ready and not found.paused and not found.held:
                self._ready.add(queue)
        self._budget.room.set()

    async def _take_probes(self, queue: str) -> None:
        """Take the probes of all guards that hold the queue, or none."""
        taken: list[Probe] = []
        complete = False
        try:
            for name in self._needs[queue]:
                if self._state(name).share > 0.0:
                    continue
                probe = await self._gates[name].take_probe()
                if probe is None:
                    return
                taken.append(probe)
            complete = bool(taken) and not self._ended
            if not complete:
                return
        finally:
            self._states.clear()
            if not complete:
                for each in taken:
                    each.end("neutral")
                if not self._ended:
                    self._set_timer()
        lease = min(self._gates[probe.guard].lease for probe in taken)
        self._probes[queue] = tuple(taken)
        self._tried[queue] = 1 + max(self._tried.values(), default=0)
        self._until[queue] = self._link.clock.monotonic() + lease / 2

    def _suffices(self, queue: str) -> bool:
        """Whether this worker has the probes of all guards that hold the queue: another may have opened since."""
        probed = {probe.guard for probe in self._probes[queue]}
        return all(name in probed or self._state(name).share > 0.0 for name in self._needs[queue])

    def _give_back(self, queue: str) -> None:
        self._until.pop(queue, None)
        for probe in self._probes.pop(queue, ()):
            probe.end("neutral")
