"""The tables of the memory store and the changes of a job's state; without locks and waits."""

from __future__ import annotations

import heapq
import math
from collections.abc import Container, Iterable, Sequence
from typing import Literal

from msgspec import structs

from outlast.brokers.memory.loads import ends_of, wait_refusal
from outlast.brokers.memory.past_jobs import PastJob, PastJobs
from outlast.brokers.memory.retention import over
from outlast.brokers.memory.rows import HolderRow, JobRow, QueueData
from outlast.brokers.memory.waiting_jobs import MemoryWaitingJobs
from outlast.core.admission import Newcomer, is_bounded, make_room, refusal, urgency
from outlast.core.clock import Clock
from outlast.core.exchanges.copies import refused_size
from outlast.core.message import TERMINAL, Fence, Message, State, Terminal, rank_of
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Published, TooLarge
from outlast.core.store.totals import Outcome
from outlast.core.succession import BLOCKED, Meeting, meets, turn_of
from outlast.core.topology import Queue, Topology, adjusted, of_another_app

__all__ = ["MOVED_TOKEN", "Tables"]

MOVED_TOKEN = -1
"""The token with which a moved job counts as settled; no claim hands out this token."""


class Tables:
    """Every job, queue, holder and key of one store. Callers hold the store's lock."""

    def __init__(self, clock: Clock, max_body: int) -> None:
        self.clock = clock
        self.max_body = max_body
        self.jobs: dict[str, JobRow] = {}
        """By id, in order of acceptance."""
        self.queues: dict[str, QueueData] = {}
        self.holders: dict[str, HolderRow] = {}
        self.last = ""
        """The queue that gave the last job of the last claim."""
        self.token = 0
        self.kinds: set[str] = set()
        """The wire kinds that the claims of this store can run."""
        self._order = 0
        self._key_holders: dict[tuple[str, str], tuple[str, float]] = {}
        """(queue, unique key) -> (id of the job that holds it, wall time when it lapses)."""
        self.successors: dict[tuple[str, str], JobRow] = {}
        """(queue, unique key) -> the job that waits for the key."""
        self._past = PastJobs()

    def queue(self, name: str) -> QueueData:
        """Return a queue; one that was not declared is made with the defaults."""
        data = self.queues.get(name)
        if data is None:
            data = self.queues[name] = QueueData(Queue(name=name), declared=Queue(name=name))
        return data

    def declare(self, topology: Topology) -> None:
        """Set the queues and their owner; make parked jobs of the topology's kinds ready."""
        for queue in topology.queues:
            owner = self.queues[queue.name].app if queue.name in self.queues else ""
            if owner and topology.app and owner != topology.app:
                raise of_another_app(queue.name, owner, topology.app)
        for queue in topology.queues:
            data = self.queue(queue.name)
            data.app = topology.app or data.app
            data.declared = queue
            data.count_kinds(topology.kinds_of.get(queue.name, ()))
            data.change(adjusted(queue, data.changes))
        if topology.kinds and self.kinds != set(topology.kinds):
            self.kinds = set(topology.kinds)
            for job in self.jobs.values():
                if job.state == "parked":
                    self.put(job, job.at, "parked")

    def publish(self, messages: Sequence[Message], *, bounded: bool, replacing: bool = True) -> list[Published]:
        """Add the messages in order. bounded: apply the queues' bounds. replacing: a held key may be taken over."""
        for message in messages:
            if message.unique is not None and self._kind_of(message.id) is None:
                self.promote_successors(message.queue)
                self._end_late_holder(message)
        return [self._publish(message, bounded=bounded, replacing=replacing) for message in messages]

    def _publish(self, message: Message, *, bounded: bool, replacing: bool) -> Published:
        now = self.clock.time()
        if (large := refused_size(message, self.max_body)) is not None:
            return large
        if (kind := self._kind_of(message.id)) is not None:
            return Exists(message.id, "id", kind)
        replaced: JobRow | None = None
        follows = False
        if (holder := self.key_holder(message)) is not None:
            meeting, replaced, known = self._meet(message, holder) if replacing else ("exists", None, holder)
            if meeting == "exists":
                return Exists(known, "unique", self._kind_of(known) or "")
            follows = meeting == "follows"
        answer = ACCEPTED
        data = self.queue(message.queue)
        if bounded and message.max_wait is not None and message.run_at <= now:
            late = wait_refusal(self, data, message)
            if late is not None:
                return late
        if message.max_wait is not None:
            message = structs.replace(message, max_wait=None)
        if bounded and is_bounded(data.queue):
            newcomer = Newcomer(len(message.args), urgency(message.priority), message.key is not None)
            room = make_room(data.queue, newcomer, now, MemoryWaitingJobs(self, data, message.key, replaced))
            if isinstance(room, TooLarge):
                return room
            if isinstance(room, str):
                return refusal(room, data.queue, data.depth, ends_of(self, message.queue, data))
            for shed in room:
                self._drop(self.jobs[shed.id], "shed")
            data.shed += len(room)
            answer = Accepted(shed=tuple(shed.id for shed in room)) if room else ACCEPTED
        if replaced is not None:
            self._drop(replaced, "replaced")
            answer = Accepted(replaced.message.id, answer.shed)
        self._order += 1
        job = JobRow(
            message, self._order, rank_of(message.run_at, message.priority), message.run_at, "scheduled", accepted=now
        )
        self.jobs[message.id] = job
        data.count(job, 1)
        if follows:
            assert message.unique is not None
            job.state, job.reason = "waiting", f"{BLOCKED}{holder}"
            self.successors[message.queue, message.unique.key] = job
        else:
            self.take_key(job)
            self.put(job, message.run_at, "scheduled")
        if answer is not ACCEPTED:
            self.prune(data)
        return answer

    def follow(self, then: Sequence[Message]) -> None:
        """Add follow-ups; the id of one whose unique key is held leads to the job that holds it."""
        for message, answer in zip(then, self.publish(then, bounded=False), strict=True):
            if isinstance(answer, Exists) and answer.by == "unique":
                until = self.clock.time() + self.queue(message.queue).queue.retention.id_memory
                self._past.add(message.id, PastJob(until, 0, message.kind, answer.id))

    def find(self, id_: str) -> JobRow | None:
        """Return the job of an id, or the one that the id of a follow-up leads to; None if it is unknown."""
        job = self.jobs.get(id_)
        if job is None and (past := self._past.get(id_)) is not None:
            job = self.jobs.get(past.link)
        return job

    def _kind_of(self, id_: str) -> str | None:
        """Return the kind of a job that is known, or whose id is remembered; None for an id that is free."""
        job = self.jobs.get(id_)
        if job is not None:
            return job.message.kind
        past = self._past.get(id_)
        return past.kind if past is not None and past.until > self.clock.time() else None

    def _meet(self, message: Message, holder: str) -> tuple[Meeting, JobRow | None, str]:
        """Return what becomes of a message whose key is held, the job that ends for it, and the id of the key's job."""
        assert message.unique is not None
        successor = self.successors.get((message.queue, message.unique.key))
        if successor is not None:
            return "follows" if message.unique.replace else "exists", successor, successor.message.id
        job = self.jobs.get(holder)
        if job is None:
            return "exists", None, holder  # the key of a time outlives the record
        meeting = meets(job.state, replace=message.unique.replace, cancelling=job.cancelling)
        return meeting, job if meeting == "replaces" else None, holder

    def is_successor(self, job: JobRow) -> bool:
        """Tell whether the job waits for its unique key."""
        unique = job.message.unique
        return unique is not None and self.successors.get((job.message.queue, unique.key)) is job

    def promote_successors(self, queue: str | None = None) -> None:
        """Let each successor in a queue, or in all, do what core.succession says."""
        if not self.successors:
            return
        now = self.clock.time()
        for name, job in sorted(self.successors.items(), key=lambda item: item[1].order):
            if queue not in (None, name[0]):
                continue
            id_, until = self._key_holders.get(name, ("", math.inf))
            holder = self.jobs.get(id_)
            turn = turn_of(None if holder is None else holder.state, late=job.late(now), lapsed=until <= now)
            if turn == "waits":
                continue
            if turn == "expires":
                self._drop(job, "expired")
            else:
                if turn == "replaces" and holder is not None:
                    self._drop(holder, "replaced")
                del self.successors[name]
                job.reason = None
                self.take_key(job)
                self.put(job, job.at, "scheduled")
            self.prune(self.queue(name[0]))

    def next_lapse_of_key(self, queues: Container[str]) -> float | None:
        """Return the wall time at which the next key of these queues lapses for a successor, None for never."""
        held = [self._key_holders[key][1] for key in self.successors if key[0] in queues and key in self._key_holders]
        return min((until for until in held if until < math.inf), default=None)

    def _end_late_holder(self, message: Message) -> None:
        """End the job that holds the message's unique key, not for a time, if it waits and is too late to start."""
        job = self.jobs.get(self.key_holder(message) or "")
        if job is None or job.state not in ("ready", "scheduled", "parked") or not job.late(self.clock.time()):
            return
        if job.message.unique is not None and job.message.unique.seconds is None:
            self._drop(job, "expired")
            self.prune(self.queue(message.queue))

    def _drop(self, job: JobRow, reason: Literal["expired", "shed", "replaced"]) -> None:
        """End a waiting job for a new one: it does not count as drained."""
        self.detach(job, superseded=True)
        job.settled = 0
        self.end(job, "cancelled" if reason == "replaced" else "expired", reason, drained=False, outcome=reason)

    def key_holder(self, message: Message) -> str | None:
        """Return the id of the job that holds the message's unique key, None when no job does."""
        if message.unique is None:
            return None
        held = self._key_holders.get((message.queue, message.unique.key))
        return held[0] if held is not None and held[1] > self.clock.time() else None

    def take_key(self, job: JobRow) -> None:
        """Make the job the holder of its unique key."""
        unique = job.message.unique
        if unique is not None:
            until = math.inf if unique.seconds is None else job.message.enqueued_at + unique.seconds
            self._key_holders[job.message.queue, unique.key] = (job.message.id, until)

    def free_key(self, job: JobRow, *, when: str) -> None:
        """Free the job's unique key if the job holds it and `when` ("start", "finish" or "purge") frees it."""
        unique = job.message.unique
        if unique is None:
            return
        if when != "purge" and (unique.seconds is not None or (when == "start" and unique.until != "start")):
            return
        name = (job.message.queue, unique.key)
        held = self._key_holders.get(name)
        if held is not None and held[0] == job.message.id:
            del self._key_holders[name]

    def put(self, job: JobRow, at: float, state: State) -> None:
        """Make the job wait: ready when `at` has come, else in `state` until then."""
        if state == "parked" and job.message.kind in self.kinds:
            at = self.clock.time()
        job.at = at
        data = self.queue(job.message.queue)
        if at <= self.clock.time():
            job.state = "ready"
            data.add(job.ticket, job.message.key)
        else:
            job.state = state
            heapq.heappush(data.due, (at, job.order, job.message.id))

    def unready(self, job: JobRow) -> None:
        """Remove the job from the ready jobs of its key, if it is one of them."""
        if job.state == "ready":
            self.queue(job.message.queue).remove(job.ticket, job.message.key)

    def _leave(self, job: JobRow) -> None:
        """Let the job wait for its unique key no longer."""
        if job.state == "waiting" and self.is_successor(job):
            assert job.message.unique is not None
            del self.successors[job.message.queue, job.message.unique.key]

    def free_slot(self, job: JobRow) -> None:
        """Free the slot of a running job; its key may join the ring at once."""
        data = self.queue(job.message.queue)
        data.end(job.message.key)
        data.freed(job.message.key)

    def promote(self, data: QueueData) -> None:
        """Make the due jobs of a queue ready, in the order of their due times."""
        now = self.clock.time()
        while data.due and data.due[0][0] <= now:
            at, order, id_ = heapq.heappop(data.due)
            job = self._waits(at, order, id_)
            if job is not None:
                self.put(job, at, job.state)

    def next_due(self, queues: Iterable[QueueData]) -> float | None:
        """Return the wall time at which the next job of these queues is due, None when none is scheduled."""
        nexts = []
        for data in queues:
            while data.due and self._waits(*data.due[0]) is None:
                heapq.heappop(data.due)
            if data.due:
                nexts.append(data.due[0][0])
        return min(nexts) if nexts else None

    def _waits(self, at: float, order: int, id_: str) -> JobRow | None:
        job = self.jobs.get(id_)
        if job is None or job.order != order or job.at != at or job.state not in ("scheduled", "parked"):
            return None
        return job

    def detach(self, job: JobRow, *, superseded: bool) -> None:
        """Detach the job from its holder. superseded: the holder's next `extend` returns the fence as lost."""
        if job.holder is not None:
            job.holder.jobs.pop(job.message.id, None)
            if superseded:
                job.holder.lost.append(job.fence)
        job.holder = None
        job.lapsed = False
        job.open = False

    def end(
        self,
        job: JobRow,
        state: Terminal,
        reason: str | None,
        *,
        drained: bool = True,
        outcome: Outcome | Literal["moved"] | None = None,
    ) -> None:
        """End the job: remove it from the counts, free its unique key, and begin its retention.

        outcome: as what it counts in the totals, as its state when None; a moved job does not count here.
        """
        self.unready(job)
        self._leave(job)
        data = self.queue(job.message.queue)
        data.count(job, -1)
        if outcome != "moved":
            data.count_end(job, outcome or state)
        if drained:
            data.rate.add(self.clock.monotonic())
        job.state, job.reason, job.finished_at = state, reason, self.clock.time()
        job.cancelling = False
        # A cancelled job will not do its work, so it keeps no key, not even for a time; a moved one does it elsewhere.
        self.free_key(job, when="purge" if state == "cancelled" and reason != "moved" else "finish")
        if state == "dead":
            data.dead[job.message.id] = job
        elif job.result is not None:
            heapq.heappush(data.results, (job.result_until, job.order, job.message.id))
            data.results_kept += 1
        else:
            data.ended[job.message.id] = job

    def revive(self, job: JobRow) -> None:
        """Remove the job from the ended ones and count it as unfinished."""
        data = self.queue(job.message.queue)
        data.ended.pop(job.message.id, None)
        data.dead.pop(job.message.id, None)
        data.count(job, 1)
        job.reason = job.finished_at = None

    def remove(self, job: JobRow, *, purge: bool = False) -> None:
        """Remove the job and its data, except its id, which is remembered for `Retention.id_memory`."""
        data = self.queue(job.message.queue)
        self.unready(job)
        self._leave(job)
        if job.state == "running":
            self.free_slot(job)
        self.detach(job, superseded=True)
        if job.state not in TERMINAL:
            late = job.state in ("ready", "scheduled", "parked") and job.late(self.clock.time())
            data.count_end(job, "expired" if late else "cancelled")
            data.count(job, -1)
        if purge:
            self.free_key(job, when="purge")
        data.ended.pop(job.message.id, None)
        data.dead.pop(job.message.id, None)
        data.results_kept -= job.state == "succeeded" and job.result is not None
        del self.jobs[job.message.id]
        until = job.accepted + data.queue.retention.id_memory
        if until > self.clock.time():
            self._past.add(job.message.id, PastJob(until, 0 if purge else job.settled, job.message.kind))

    def forget_moved(self, id_: str) -> None:
        """Forget the id of a moved job, so that the job may come back."""
        past = self._past.get(id_)
        if past is not None and past.settled == MOVED_TOKEN:
            self._past.forget(id_)

    def was_settled(self, fence: Fence) -> bool:
        """Tell whether a settlement with this fence was accepted and the job has not changed since."""
        job = self.jobs.get(fence.id)
        if job is None:
            past = self._past.get(fence.id)
            return past is not None and past.settled == fence.token
        return not job.open and job.settled == fence.token

    def prune(self, data: QueueData) -> int:
        """Apply the queue's retention; return how many records were removed."""
        now, removed = self.clock.time(), 0
        for job in over(self.jobs, data, now):
            self.remove(job)
            removed += 1
        self._past.prune(now)
        return removed
