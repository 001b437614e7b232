"""What a worker may still take on: its slots, what is on its way to the store, and how much to claim next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from outlast.core.registry import Mode
from outlast.core.settlement import Settlement
from outlast.worker.job_map import STARTED, SharedJobMap
from outlast.worker.ports import ComposerPort
from outlast.worker.run import Run
from outlast.worker.slot_groups import AHEAD, Average, SlotGroup

__all__ = ["Budget", "EndedRun"]

EndedRun = tuple[Run, Settlement]
"""A run that has ended, and what the store is to record of it."""


class Budget:
    """Counts every run from its claim until the store has its settlement, for claimer, executor and settler alike.

    The groups of slots share one bound: at most `concurrency` runs at a time in all. With a job map each step is
    recorded there as well, for the supervisor. All methods belong to the loop's thread.
    """

    def __init__(
        self,
        composer: ComposerPort,
        *,
        concurrency: int,
        threads: int,
        processes: int,
        job_map: SharedJobMap | None = None,
    ) -> None:
        self.concurrency = concurrency
        self.loop: SlotGroup[Run] = SlotGroup(concurrency)
        self.thread: SlotGroup[Run] = SlotGroup(threads)
        self.process: SlotGroup[Run] = SlotGroup(processes, isolated=True)
        # As many as threads: forks wait for others more than they use the processor.
        self.solo: SlotGroup[Run] = SlotGroup(threads, isolated=True)
        self.groups = (self.loop, self.thread, self.process, self.solo)
        by_mode: Mapping[Mode, SlotGroup[Run]]
        self.by_mode = by_mode = {"async": self.loop, "thread": self.thread, "process": self.process}
        self.runs: dict[Run, None] = {}
        """All that is held."""
        self.taken = 0
        """Slots in use."""
        self.settling = 0
        """Runs on their way to the store."""
        self.finished = 0
        """Runs that have ended since the start."""
        self.starting = False
        """Whether the runs that wait are about to start."""
        self.claimed_at = 0.0
        """Monotonic seconds at which the last claim came back, 0 before the first."""
        self.trip = Average(0.2)
        """Seconds to the store and back."""
        self.room = asyncio.Event()
        """Set when there may be more to claim than at the last look."""
        self.idle = asyncio.Event()
        """Set while nothing is held."""
        self.idle.set()
        self._queues = {(each.queue, by_mode[each.mode]) for each in composer.registry.kinds.values()}
        self._job_map = job_map
        self._kill_grace = composer.settings.kill_grace

    # What to claim

    def demand(self, queues: Iterable[str]) -> tuple[dict[str, int], int]:
        """Return how many jobs of each queue there is room for, and how many in all.

        A queue whose kinds run in several ways gets the room of the narrowest, so that no job waits here for a slot.
        """
        trip = self.trip.value
        chosen = (self.loop, self.thread, self.process)  # no claim can ask for jobs that run alone
        ahead = sum(group.ahead(trip) for group in chosen)
        most = self.concurrency + min(ahead, AHEAD * self.concurrency)
        limit = most + self.settling - len(self.runs) - self.thread.stuck
        if ahead:
            # Two batches of like size: one runs while the store takes and gives the other.
            limit = min(limit, (most + 1) // 2)
        if limit <= 0:
            return {}, 0
        rooms: dict[str, int] = {}
        for queue, group in self._queues:
            rooms[queue] = min(rooms.get(queue, limit), group.room(trip))
        demand = {queue: rooms.get(queue, limit) for queue in queues}
        return {queue: n for queue, n in demand.items() if n > 0}, limit

    def settles_soon(self) -> bool:
        """Return whether `room` is set before long: a run waits to be settled, or waiting runs are about to start."""
        unended = self.taken - self.thread.stuck + sum(len(group.waiting) for group in self.groups)
        return self.starting or len(self.runs) - self.settling > unended

    # A run's way

    def hold(self, run: Run) -> None:
        """Count a run that was claimed."""
        run.group.held += 1
        self.runs[run] = None

    def wait(self, run: Run) -> None:
        """Let it wait for a slot of its group."""
        run.group.waiting.append(run)
        self.claimed(run)

    def claimed(self, run: Run) -> None:
        """Show the supervisor that the job is held and does not run yet: a crash does not count for it."""
        if self._job_map is not None and run.map_index < 0:
            run.map_index = self._job_map.take(run.delivery)

    def take_slot(self, group: SlotGroup[Run]) -> bool:
        """Take a slot of the group; return False when it has none, or the worker is full."""
        if group.taken >= group.slots or self.taken >= self.concurrency:
            return False
        group.taken += 1
        self.taken += 1
        return True

    def begun(self, run: Run) -> None:
        """Show the supervisor that the job runs from now on; an isolated one when its child process has it."""
        if self._job_map is None:
            return
        deadline = run.deadline + self._kill_grace if run.deadline else 0.0
        if run.map_index < 0:
            run.map_index = self._job_map.take(run.delivery, STARTED, deadline)
        else:
            self._job_map.start(run.map_index, deadline)

    def free_slot(self, run: Run, now: float) -> None:
        """Give its slot back. now: monotonic seconds."""
        group = run.group
        group.taken -= 1
        self.taken -= 1
        group.run_time.add(now - run.started)

    def end(self, run: Run) -> None:
        """Count a run that ended and waits to be settled."""
        run.ended = True
        run.task = None
        self.finished += 1
        if run.map_index >= 0 and self._job_map is not None:
            self._job_map.end(run.map_index)

    def begin_settling(self, batch: Sequence[EndedRun]) -> None:
        """Count as room what is on its way to the store: the claim that takes it shares the settlement's transaction.

        While the store is away that flush does not come back, and no other begins: what is held beyond the bound is
        one batch at most.
        """
        for run, _ in batch:
            run.group.settling += 1
        self.settling += len(batch)
        self.room.set()

    def settled(self, batch: Sequence[EndedRun]) -> None:
        """Free what the store has taken over."""
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

    def forsake(self, run: Run) -> None:
        """Count no longer a run whose thread goes on: it keeps its slot, and the store counts it as ours."""
        run.ended = True
        if self._job_map is not None:
            self._job_map.end(run.map_index)
        run.group.stuck += 1
        run.group.held -= 1
        del self.runs[run]
        if not self.runs:
            self.idle.set()

    def withdraw(self, overdue: Callable[[Run], bool]) -> Iterator[Run]:
        """Take out what has waited too long for a slot, oldest first."""
        for group in self.groups:
            while group.waiting and overdue(group.waiting[0]):
                yield group.waiting.popleft()
