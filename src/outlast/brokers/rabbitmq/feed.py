"""One queue as a worker consumes it: what was delivered and waits for a claim, what is held, what was lost."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from outlast.brokers.rabbitmq.job_form import Malformed, TakenJob
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.consumer import AmqpConsumer, AmqpDelivery, OnReady
from outlast.core.errors import StoreError
from outlast.core.message import Delivery, Fence

__all__ = ["HeldJob", "QueueFeed", "Taken"]

_logger = logging.getLogger("outlast.worker")


class HeldJob:
    """A job with the delivery that brought it, until it is settled."""

    __slots__ = ("delivery", "job")

    def __init__(self, job: TakenJob, delivery: AmqpDelivery) -> None:
        self.job: Final = job
        self.delivery: Final = delivery


class Taken(NamedTuple):
    """What a claim takes: jobs; messages that are none, with the reason; jobs that must wait longer."""

    jobs: list[Delivery]
    malformed: list[tuple[AmqpDelivery, str]]
    early: list[HeldJob]


class QueueFeed:
    """Consumes one queue.

    tokens: numbers that grow, for the fences. read: returns the job that a delivery is, or raises Malformed. arrived:
    called when a message was delivered, or the state of the consumer has changed.
    """

    def __init__(
        self,
        client: AmqpClient,
        queue: str,
        prefetch: int,
        *,
        tokens: Iterator[int],
        read: Callable[[AmqpDelivery], TakenJob],
        on_ready: OnReady,
        arrived: Callable[[], None],
    ) -> None:
        self.queue: Final = queue
        self.full = False
        """Whether as many jobs have come as were asked for, since this was last set to False."""
        self.held: dict[int, HeldJob] = {}
        """By the token of their fence."""
        self.late: set[int] = set()
        """Tokens of held jobs whose settlement was taken, and waits for the server to confirm a publish."""
        self.gone: dict[int, None] = {}
        """Tokens of held jobs whose channel has ended: the server hands these jobs out again."""
        self.asked_at = 0.0
        """When (monotonic) a claim last asked for its jobs."""
        self.heard_at = 0.0
        """When (monotonic) `heard` was last true."""
        self.ended_epoch = 0
        """Receipts of this channel and of those before it are lost."""
        self.failing = ""
        """Why it is not consumed any more."""
        self._epoch = 0
        self._waiting: deque[AmqpDelivery] = deque()
        self._tokens = tokens
        self._read = read
        self._arrived = arrived
        self._client = client
        self._on_ready = on_ready
        self.consumer = self._consume(prefetch)
        self.heard = True
        """Whether a message came, or the consumer was made, since this was last set to False."""

    def _consume(self, prefetch: int) -> AmqpConsumer:
        return self._client.consume(
            self.queue, prefetch, self._deliver, on_ready=self._on_ready, on_change=self._changed
        )

    async def renew(self) -> None:
        """Consume on a new channel. Nothing may be outstanding.

        A queue that was deleted and made again at once leaves a consumer in RabbitMQ 3.10 to which nothing is delivered
        and nothing is said: a silence must end by itself.
        """
        await self.consumer.close()
        self._lose()  # what came in the last moment
        self.consumer = self._consume(self.consumer.prefetch)

    @property
    def outstanding(self) -> int:
        """The number of messages that were delivered and not settled."""
        return len(self._waiting) + len(self.held)

    @property
    def waiting(self) -> int:
        """The number of messages that wait for a claim."""
        return len(self._waiting)

    def take(self, most: int, now: float) -> Taken:
        """Hand out at most `most` jobs. now: wall time."""
        taken = Taken([], [], [])
        waiting = self._waiting
        while waiting and len(taken.jobs) < most:
            delivery = waiting.popleft()
            try:
                job = self._read(delivery)
            except Malformed as error:
                taken.malformed.append((delivery, str(error)))
                continue
            held = HeldJob(job, delivery)
            if job.not_before > now:
                taken.early.append(held)
                continue
            token = next(self._tokens)
            self.held[token] = held
            fence = Fence(job.message.id, self.queue, token)
            taken.jobs.append(Delivery(job.message, fence, job.attempt, job.crashes, job.begun))
        return taken

    def read(self, delivery: AmqpDelivery) -> TakenJob | None:
        """Return the job that a delivery is, None if it is none."""
        try:
            return self._read(delivery)
        except Malformed:
            return None

    def was_lost(self, token: int) -> bool:
        """Tell, once, whether the channel of a job that was handed out has ended before it was settled."""
        known = token in self.gone
        self.gone.pop(token, None)
        return known

    def give_back(self) -> list[AmqpDelivery]:
        """Return what waits for a claim; it is the caller's to settle."""
        given, self._waiting = list(self._waiting), deque()
        return given

    def settled(self, tokens: Sequence[int], *, requeue: bool = False) -> list[int]:
        """Acknowledge held jobs, or (requeue) return them; return the tokens of those that are lost."""
        by_epoch: dict[int, dict[int, int]] = {}
        for token in tokens:
            held = self.held.pop(token, None)
            self.late.discard(token)
            if held is not None:
                by_epoch.setdefault(held.delivery.epoch, {})[held.delivery.tag] = token
        lost: list[int] = []
        for epoch, tags in by_epoch.items():
            lost += [tags[tag] for tag in self._settle(epoch, list(tags), requeue=requeue)]
        return lost

    def drop(self, deliveries: Sequence[AmqpDelivery], *, requeue: bool = False) -> None:
        """Acknowledge, or return, deliveries that were never handed out."""
        by_epoch: dict[int, list[int]] = {}
        for each in deliveries:
            by_epoch.setdefault(each.epoch, []).append(each.tag)
        for epoch, tags in by_epoch.items():
            self._settle(epoch, tags, requeue=requeue)

    async def close(self) -> None:
        """Stop; what is not settled goes back to the queue."""
        await self.consumer.close()
        self._lose()

    def _settle(self, epoch: int, tags: list[int], *, requeue: bool) -> list[int]:
        return self.consumer.nack(epoch, tags, requeue=True) if requeue else self.consumer.ack(epoch, tags)

    def _deliver(self, delivery: AmqpDelivery) -> None:
        self._waiting.append(delivery)
        self._epoch = delivery.epoch
        self.heard = True
        if len(self._waiting) + len(self.held) >= self.consumer.prefetch:
            self.full = True
        self._arrived()

    def _changed(self, problem: StoreError | None) -> None:
        """Log that the queue is not consumed any more, once per reason; forget what its channel had delivered."""
        if problem is not None:
            if not self.consumer.epoch:  # while an answer is overdue, the server has not taken anything back
                self._lose()
            if str(problem) != self.failing:
                _logger.warning("queue %r is not consumed now: %s", self.queue, problem)
            self.failing = str(problem)
        elif self.failing:
            self.failing = ""
            _logger.info("queue %r is consumed again", self.queue)
        self._arrived()

    def _lose(self) -> None:
        self.ended_epoch = self._epoch
        self._waiting.clear()
        self.gone |= dict.fromkeys(token for token in self.held if token not in self.late)
        self.late.clear()
        self.held.clear()
