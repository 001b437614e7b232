"""The tables of the memory store and the moves of one job between its states; no locks, no waiting."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from outlast.brokers.memory.rows import HolderRow, JobRow, QueueData
from outlast.brokers.memory.waiting_jobs import MemoryWaitingJobs
from outlast.core.admission import Newcomer, is_bounded, make_room, retry_after, urgency
from outlast.core.clock import Clock
from outlast.core.limits import nanos
from outlast.core.message import TERMINAL, Failure, Fence, Message, State, Terminal, rank_of
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Full, Published, TooLarge
from outlast.core.topology import Queue, Topology, adjusted, of_another_app

__all__ = ["MOVED_TOKEN", "Tables", "add_failure"]

MOVED_TOKEN = -1
"""What a job that lives in another store now was settled with: no claim gives it out."""


class Tables:
    """Every job, queue, holder and key of one store. Callers hold the store's lock."""

    def __init__(self, clock: Clock, max_body: int) -> None:
        self.clock = clock
        self.max_body = max_body
        self.jobs: dict[str, JobRow] = {}
        """By id, in order of acceptance."""
        self.lines: dict[str, QueueData] = {}
        self.holders: dict[str, HolderRow] = {}
        self.last = ""
        """The queue that gave the last job of the last claim."""
        self.token = 0
        self.kinds: set[str] = set()
        """What the claims of this store can run."""
        self._order = 0
        self._held: dict[tuple[str, str], tuple[str, float]] = {}
        """(queue, unique key) -> (id of the job that holds it, wall time when it lapses)."""
        self._past: dict[str, tuple[float, int]] = {}
        """Ids whose record is gone -> (wall time until which they are remembered, token of the accepted settlement)."""
        self._forget: list[tuple[float, str]] = []

    def line(self, name: str) -> QueueData:
        """Return a queue, made with the defaults when it was not declared."""
        line = self.lines.get(name)
        if line is None:
            line = self.lines[name] = QueueData(Queue(name=name), declared=Queue(name=name))
        return line

    def declare(self, topology: Topology) -> None:
        """Set the queues' bounds and whose they are; from now on jobs of the topology's kinds are parked no more."""
        for queue in topology.queues:
            owner = self.lines[queue.name].app if queue.name in self.lines else ""
            if owner and topology.app and owner != topology.app:
                raise of_another_app(queue.name, owner, topology.app)
        for queue in topology.queues:
            line = self.line(queue.name)
            line.app = topology.app or line.app
            line.declared = queue
            line.change(adjusted(queue, line.changes))
        if topology.kinds and self.kinds != set(topology.kinds):
            self.kinds = set(topology.kinds)
            for job in self.jobs.values():
                if job.state == "parked":
                    self.put(job, job.at, "parked")

    def publish(self, messages: Sequence[Message], *, bounded: bool, replacing: bool = True) -> list[Published]:
        """Add the messages one after the other. bounded: bounds hold. replacing: a unique key may change hands."""
        return [self._publish(message, bounded=bounded, replacing=replacing) for message in messages]

    def _publish(self, message: Message, *, bounded: bool, replacing: bool) -> Published:
        now = self.clock.time()
        if len(message.args) > self.max_body:
            return TooLarge(len(message.args), self.max_body)
        if message.id in self.jobs or self._past.get(message.id, (-math.inf, 0))[0] > now:
            return Exists(message.id, "id")
        replaced: JobRow | None = None
        if (holder := self.key_holder(message)) is not None:
            replaced = self._replaceable(message, holder) if replacing else None
            if replaced is None:
                return Exists(holder, "unique")
        answer = ACCEPTED
        line = self.line(message.queue)
        if bounded and is_bounded(line.queue):
            newcomer = Newcomer(len(message.args), urgency(message.priority), message.key is not None)
            room = make_room(line.queue, newcomer, now, MemoryWaitingJobs(self, line, message.key, replaced))
            if isinstance(room, TooLarge):
                return room
            if isinstance(room, str):
                rate = line.rate.per_second(self.clock.monotonic())
                return Full(retry_after(room, line.queue, line.depth, rate), room)
            for waiter in room:
                self._drop(self.jobs[waiter.id], "expired", "shed")
            line.shed += len(room)
            answer = Accepted(shed=tuple(waiter.id for waiter in room)) if room else ACCEPTED
        if replaced is not None:
            self._drop(replaced, "cancelled", "replaced")
            answer = Accepted(replaced.message.id, answer.shed)
        self._order += 1
        job = JobRow(
            message, self._order, rank_of(message.run_at, message.priority), message.run_at, "scheduled", accepted=now
        )
        self.jobs[message.id] = job
        self.take_key(job)
        line.count(job, 1)
        self.put(job, message.run_at, "scheduled")
        if answer is not ACCEPTED:
            self.prune(line)
        return answer

    def _replaceable(self, message: Message, holder: str) -> JobRow | None:
        """Return the job that holds the message's unique key, if the message may take its place: one that waits."""
        job = self.jobs.get(holder)
        replaces = message.unique is not None and message.unique.replace
        return job if replaces and job is not None and job.state in ("ready", "scheduled", "parked") else None

    def _drop(self, job: JobRow, state: Terminal, reason: str) -> None:
        """End a waiting job for another one that comes in: it is not counted as drained, and lets go of its key."""
        self.let_go(job, superseded=True)
        job.settled = 0
        self.end(job, state, reason, drained=False)
        if reason == "replaced":
            self.free_key(job, when="purge")

    def key_holder(self, message: Message) -> str | None:
        """Return the id of the job that holds the message's unique key, None when it is free or there is none."""
        if message.unique is None:
            return None
        held = self._held.get((message.queue, message.unique.key))
        return held[0] if held is not None and held[1] > self.clock.time() else None

    def take_key(self, job: JobRow) -> None:
        """Let the job hold its unique key."""
        unique = job.message.unique
        if unique is not None:
            until = math.inf if unique.seconds is None else job.message.enqueued_at + unique.seconds
            self._held[job.message.queue, unique.key] = (job.message.id, until)

    def free_key(self, job: JobRow, *, when: str) -> None:
        """Let go of the unique key at "start", "finish" or "purge", if the job holds it and this is its time."""
        unique = job.message.unique
        if unique is None:
            return
        if when != "purge" and (unique.seconds is not None or (when == "start" and unique.until != "start")):
            return
        name = (job.message.queue, unique.key)
        held = self._held.get(name)
        if held is not None and held[0] == job.message.id:
            del self._held[name]

    def put(self, job: JobRow, at: float, state: State) -> None:
        """Let the job wait: ready when `at` has come, else in `state` until then."""
        if state == "parked" and job.message.kind in self.kinds:
            at = self.clock.time()
        job.at = at
        line = self.line(job.message.queue)
        if at <= self.clock.time():
            job.state = "ready"
            line.add(job.place, job.message.key)
        else:
            job.state = state
            heapq.heappush(line.due, (at, job.order, job.message.id))

    def lift(self, job: JobRow) -> None:
        """Take the job out of its line, if it stands there."""
        if job.state == "ready":
            self.line(job.message.queue).remove(job.place, job.message.key)

    def rest(self, job: JobRow) -> None:
        """Count a running job as running no more; its key may join the ring at once."""
        line = self.line(job.message.queue)
        line.end(job.message.key)
        line.freed(job.message.key)

    def promote(self, line: QueueData) -> None:
        """Make ready what has become due in a queue, first due first."""
        now = self.clock.time()
        while line.due and line.due[0][0] <= now:
            at, order, id_ = heapq.heappop(line.due)
            job = self._waits(at, order, id_)
            if job is not None:
                self.put(job, at, job.state)

    def next_due(self) -> float | None:
        """Return the wall time at which the next job is due."""
        nexts = []
        now = nanos(self.clock.time())
        for line in self.lines.values():
            if line.paused or line.room(now) == 0:
                continue  # nothing of it is handed out, due or not
            while line.due and self._waits(*line.due[0]) is None:
                heapq.heappop(line.due)
            if line.due:
                nexts.append(line.due[0][0])
        return min(nexts) if nexts else None

    def _waits(self, at: float, order: int, id_: str) -> JobRow | None:
        job = self.jobs.get(id_)
        if job is None or job.order != order or job.at != at or job.state not in ("scheduled", "parked"):
            return None
        return job

    def let_go(self, job: JobRow, *, superseded: bool) -> None:
        """Part the job from its holder, who is told of it at its next `extend` when it was `superseded`."""
        if job.holder is not None:
            job.holder.jobs.pop(job.message.id, None)
            if superseded:
                job.holder.lost.append(job.fence)
        job.holder = None
        job.lapsed = False
        job.open = False

    def end(self, job: JobRow, state: Terminal, reason: str | None, *, drained: bool = True) -> None:
        """End the job: it counts no more, frees its key, and retention begins."""
        self.lift(job)
        line = self.line(job.message.queue)
        line.count(job, -1)
        if drained:
            line.rate.add(self.clock.monotonic())
        job.state, job.reason, job.finished_at = state, reason, self.clock.time()
        job.cancelling = False
        self.free_key(job, when="finish")
        if state == "dead":
            line.dead[job.message.id] = job
        elif job.result is not None:
            heapq.heappush(line.results, (job.result_until, job.order, job.message.id))
        else:
            line.ended[job.message.id] = job

    def revive(self, job: JobRow) -> None:
        """Take an ended job out of what has ended; it counts again."""
        line = self.line(job.message.queue)
        line.ended.pop(job.message.id, None)
        line.dead.pop(job.message.id, None)
        line.count(job, 1)
        job.reason = job.finished_at = job.result = None

    def remove(self, job: JobRow, *, purge: bool = False) -> None:
        """Remove the job and all that is kept about it, but for its id as long as that must be remembered."""
        line = self.line(job.message.queue)
        self.lift(job)
        if job.state == "running":
            self.rest(job)
        self.let_go(job, superseded=True)
        if job.state not in TERMINAL:
            line.count(job, -1)
        if purge:
            self.free_key(job, when="purge")
        line.ended.pop(job.message.id, None)
        line.dead.pop(job.message.id, None)
        del self.jobs[job.message.id]
        until = job.accepted + line.queue.retention.id_memory
        if until > self.clock.time():
            self._past[job.message.id] = (until, 0 if purge else job.settled)
            heapq.heappush(self._forget, (until, job.message.id))

    def forget_moved(self, id_: str) -> None:
        """Let a job that went to another store come back: its id is remembered no more."""
        if self._past.get(id_, (0.0, 0))[1] == MOVED_TOKEN:
            del self._past[id_]

    def was_settled(self, fence: Fence) -> bool:
        """Tell whether a settlement with this fence was accepted, and nothing has happened to its job since."""
        job = self.jobs.get(fence.id)
        if job is None:
            return self._past.get(fence.id, (0.0, 0))[1] == fence.token
        return not job.open and job.settled == fence.token

    def prune(self, line: QueueData) -> int:
        """Apply the queue's retention; return how many records went."""
        now, kept, gone = self.clock.time(), line.queue.retention, 0
        while line.ended and (
            len(line.ended) > kept.records or _finished(next(iter(line.ended.values()))) + kept.record_ttl <= now
        ):
            self.remove(next(iter(line.ended.values())))
            gone += 1
        while line.dead and _finished(next(iter(line.dead.values()))) + kept.dead_ttl <= now:
            self.remove(next(iter(line.dead.values())))
            gone += 1
        while line.results and line.results[0][0] <= now:
            until, order, id_ = heapq.heappop(line.results)
            job = self.jobs.get(id_)
            if job is not None and job.order == order and job.result is not None and job.result_until == until:
                self.remove(job)
                gone += 1
        while self._forget and self._forget[0][0] <= now:
            until, id_ = heapq.heappop(self._forget)
            if id_ in self._past and self._past[id_][0] == until:
                del self._past[id_]
        return gone


def add_failure(job: JobRow, failure: Failure | None) -> None:
    """Keep a failed attempt: the last ones only."""
    if failure is not None:
        job.failures = (*job.failures, failure)[-DEFAULTS.failures_kept :]


def _finished(job: JobRow) -> float:
    return job.finished_at or 0.0
