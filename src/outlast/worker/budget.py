"""Counts the slots and the claimed jobs of a worker, and computes how many jobs to claim next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from outlast.core.message import Fence, Holder
from outlast.core.registry import Mode
from outlast.core.settlement import Settlement
from outlast.worker.costs import CostSums
from outlast.worker.job_map import STARTED, SharedJobMap
from outlast.worker.loads import QueueLoads
from outlast.worker.ports import ComposerPort
from outlast.worker.run import Run
from outlast.worker.slot_groups import AHEAD, Average, SlotGroup

__all__ = ["Budget", "EndedRun"]

EndedRun = tuple[Run, Settlement]
"""A run that has ended, and its settlement."""


class Budget:
    """Counts every run from its claim until the store has its settlement; shared by claimer, executor and settler.

    All slot groups share one bound: at most `concurrency` runs at a time. With a job map, each step is also recorded
    there for the supervisor. Call every method in the event loop's thread.
    """

    def __init__(
        self,
        composer: ComposerPort,
        *,
        concurrency: int,
        threads: int,
        processes: int,
        job_map: SharedJobMap | None = None,
        costs: CostSums | None = None,
    ) -> None:
        self.concurrency = concurrency
        self.loop: SlotGroup[Run] = SlotGroup(concurrency)
        self.thread: SlotGroup[Run] = SlotGroup(threads)
        self.process: SlotGroup[Run] = SlotGroup(processes, isolated=True)
        # As many as threads: a forked child process mostly waits and uses little CPU.
        self.solo: SlotGroup[Run] = SlotGroup(threads, isolated=True)
        self.groups = (self.loop, self.thread, self.process, self.solo)
        self.by_mode: dict[Mode, SlotGroup[Run]] = {"async": self.loop, "thread": self.thread, "process": self.process}
        self.runs: dict[Run, None] = {}
        """All claimed runs that are not settled yet, in the order of their claim."""
        self.taken = 0
        """Slots in use."""
        self.settling = 0
        """Runs whose settlement is being sent to the store."""
        self.leaving = 0
        """Runs without a slot that wait for the object store, until they are settled."""
        self.finished = 0
        """Runs that have ended since the start."""
        self.starting = False
        """Whether the start of the waiting runs is scheduled."""
        self.trip = Average(0.2)
        """Seconds of one round trip to the store."""
        self.room = asyncio.Event()
        """Set when the demand may have grown since the last claim."""
        self.idle = asyncio.Event()
        """Set while no run is held."""
        self.detached: list[Fence] = []
        """The jobs of `detach`: they have begun, and are released when the process ends."""
        self.idle.set()
        self._queues = {(each.queue, self.by_mode[each.mode]) for each in composer.registry.kinds.values()}
        self.loads = QueueLoads(
            {queue: self.slots(queue) for queue, _ in self._queues}, composer.registry.guards.values()
        )
        self._job_map = job_map
        self.costs = costs
        """Where the runs are summed up, None where the store keeps no costs."""
        self._kill_grace = composer.settings.kill_grace

    # What to claim

    def demand(self, queues: Iterable[str]) -> tuple[dict[str, int], int]:
        """Return the number of jobs to claim from each queue, and in all; 0 for a queue without room.

        A queue whose kinds use several slot groups gets the smallest room of them: no job waits here for a slot.
        """
        trip = self.trip.value
        groups = (self.loop, self.thread, self.process)  # a claim cannot ask for jobs that run alone
        ahead = sum(group.ahead(trip) for group in groups)
        most = self.concurrency + min(ahead, AHEAD * self.concurrency)
        limit = most + self.settling - len(self.runs) - self.thread.stuck
        if ahead:
            # Two batches of equal size: one runs while the store settles and claims the other.
            limit = min(limit, (most + 1) // 2)
        if limit <= 0:
            return dict.fromkeys(queues, 0), 0
        rooms: dict[str, int] = {}
        for queue, group in self._queues:
            rooms[queue] = min(rooms.get(queue, limit), group.room(trip))
        return {queue: max(0, rooms.get(queue, limit)) for queue in queues}, limit

    def holder(self, holder: Holder, now: float, shut: Collection[str]) -> Holder:
        """Return the holder for the next claim, with what this worker can do for each queue.

        now: monotonic seconds. shut: queues of which it takes no job now, as guards hold them.
        """
        running = ((run.delivery.message.queue, run.started) for run in self.runs if not run.ended)
        return self.loads.holder(holder, now, running, shut)

    def slots(self, queue: str) -> int:
        """Return how many jobs of a queue may run here at once."""
        return min([self.concurrency, *(group.slots for name, group in self._queues if name == queue)])

    def settles_soon(self) -> bool:
        """Return whether `room` is set soon: a run waits to be settled, or waiting runs are about to start."""
        unended = self.taken - self.thread.stuck + self.leaving + sum(len(group.waiting) for group in self.groups)
        return self.starting or len(self.runs) - self.settling > unended

    # The steps of a run

    def hold(self, run: Run) -> None:
        """Count a claimed run."""
        run.group.held += 1
        self.runs[run] = None

    def wait(self, run: Run) -> None:
        """Add the run to those that wait for a slot of its group."""
        run.group.waiting.append(run)
        self.claimed(run)

    def claimed(self, run: Run) -> None:
        """Record in the job map that the job is claimed and does not run yet: a crash does not count for it."""
        if self._job_map is not None and run.map_index < 0:
            run.map_index = self._job_map.take(run.delivery)

    def take_slot(self, group: SlotGroup[Run]) -> bool:
        """Take a slot of the group; return False when the group or the worker has none."""
        if group.taken >= group.slots or self.taken >= self.concurrency:
            return False
        group.taken += 1
        self.taken += 1
        return True

    def begun(self, run: Run) -> None:
        """Record in the job map that the job runs. For an isolated job: call this when its child process has it."""
        if self._job_map is None:
            return
        deadline = run.deadline + self._kill_grace if run.deadline else 0.0
        if run.map_index < 0:
            run.map_index = self._job_map.take(run.delivery, STARTED, deadline)
        else:
            self._job_map.start(run.map_index, deadline)

    def free_slot(self, run: Run, now: float) -> None:
        """Free the slot of the run. now: monotonic seconds."""
        group = run.group
        group.taken -= 1
        self.taken -= 1
        took = run.measured(now)
        group.run_time.add(took)
        self.loads.ended(run.queue, took)
        if self.costs is not None:
            self.costs.ran(run, took)

    def leave(self, run: Run) -> None:
        """Count a run that waits for the object store after its end: its hard deadline is over, and no one kills it."""
        self.leaving += 1
        if run.map_index >= 0 and self._job_map is not None:
            self._job_map.end(run.map_index)

    def end(self, run: Run) -> None:
        """Count a run that has ended and waits to be settled."""
        run.ended = True
        run.task = None
        self.finished += 1
        if run.map_index >= 0 and self._job_map is not None:
            self._job_map.end(run.map_index)

    def begin_settling(self, batch: Sequence[EndedRun]) -> None:
        """Count the batch as free room: the next claim shares the transaction of its settlement.

        During an outage of the store this flush does not return and no other begins, so at most one batch is held
        beyond the bound.
        """
        for run, _ in batch:
            run.group.settling += 1
        self.settling += len(batch)
        self.room.set()

    def settled(self, batch: Sequence[EndedRun]) -> None:
        """Remove runs whose settlements the store has recorded."""
        job_map = self._job_map
        for run, _ in batch:
            run.group.settling -= 1
            run.group.held -= 1
            if run.map_index >= 0 and job_map is not None:
                job_map.clear(run.map_index)
            del self.runs[run]
        self.settling -= len(batch)
        if not self.runs:
            self.idle.set()
            self.room.set()

    def detach(self, run: Run) -> None:
        """Remove a run whose thread still runs: it keeps its slot, and the store still counts its job as held here."""
        run.ended = True
        if self._job_map is not None:
            self._job_map.end(run.map_index)
        self.detached.append(run.delivery.fence)
        run.group.stuck += 1
        run.group.held -= 1
        del self.runs[run]
        if not self.runs:
            self.idle.set()

    def withdraw(self, overdue: Callable[[Run], bool]) -> Iterator[Run]:
        """Remove and yield the waiting runs that are overdue, oldest first."""
        for group in self.groups:
            while group.waiting and overdue(group.waiting[0]):
                yield group.waiting.popleft()
