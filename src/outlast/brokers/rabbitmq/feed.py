"""One queue as a worker consumes it: what was delivered and waits for a claim, what is held, what was lost."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from outlast.brokers.rabbitmq.job_form import Malformed, TakenJob, read_job
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.consumer import AmqpConsumer, AmqpDelivery, OnReady
from outlast.core.errors import StoreError
from outlast.core.message import Delivery, Fence

__all__ = ["HeldJob", "QueueFeed", "RefusedDelivery"]

_logger = logging.getLogger("outlast.worker")
_TAG_BITS: Final = 40
"""Bits of the delivery tag in the token of a fence; the epoch of the channel is above them, so tokens grow."""


class HeldJob:
    """A job that was handed out and is not settled. published: the places of its messages that are confirmed."""

    __slots__ = ("delivery", "epoch", "published", "tag", "taken")

    def __init__(self, taken: TakenJob, delivery: AmqpDelivery) -> None:
        self.taken: Final = taken
        self.delivery: Final = delivery
        self.epoch: Final = delivery.epoch
        self.tag: Final = delivery.tag
        self.published: dict[int, None] = {}


class RefusedDelivery:
    """A message that is not handed out. reason: why it is no job; "" for a job that must wait longer."""

    __slots__ = ("held", "reason")

    def __init__(self, held: HeldJob | AmqpDelivery, reason: str = "") -> None:
        self.held: Final = held
        self.reason: Final = reason


class QueueFeed:
    """Consumes one queue. arrived: called when a message was delivered, or the state of the consumer has changed."""

    def __init__(
        self, client: AmqpClient, queue: str, prefetch: int, *, on_ready: OnReady, arrived: Callable[[], None]
    ) -> None:
        self.queue: Final = queue
        self.full = False
        """Whether as many jobs have come as were asked for, since this was last set to False."""
        self.held: dict[int, HeldJob] = {}
        """By the token of their fence."""
        self.gone: dict[int, None] = {}
        """Tokens of held jobs whose channel has ended: the server hands these jobs out again."""
        self.idle_since: float | None = None
        """When (monotonic) a claim began to ask for none of its jobs."""
        self._waiting: deque[AmqpDelivery] = deque()
        self._arrived = arrived
        self._told = ""
        self.consumer: AmqpConsumer = client.consume(
            queue, prefetch, self._deliver, on_ready=on_ready, on_change=self._changed
        )

    @property
    def outstanding(self) -> int:
        """The number of messages that were delivered and not settled."""
        return len(self._waiting) + len(self.held)

    @property
    def waiting(self) -> int:
        """The number of messages that wait for a claim."""
        return len(self._waiting)

    def take(
        self, most: int, now: float, new_id: Callable[[str], str]
    ) -> tuple[list[Delivery], list[RefusedDelivery]]:
        """Hand out at most `most` jobs, and the messages before them that are none or must wait longer."""
        given: list[Delivery] = []
        refused: list[RefusedDelivery] = []
        waiting = self._waiting
        while waiting and len(given) < most:
            delivery = waiting.popleft()
            try:
                taken = read_job(delivery, now, new_id)
            except Malformed as error:
                refused.append(RefusedDelivery(delivery, str(error)))
                continue
            held = HeldJob(taken, delivery)
            if taken.not_before > now:
                refused.append(RefusedDelivery(held))
                continue
            token = delivery.epoch << _TAG_BITS | delivery.tag
            self.held[token] = held
            message = taken.message
            fence = Fence(message.id, self.queue, token)
            given.append(Delivery(message, fence, taken.attempt, taken.crashes, taken.begun))
        return given, refused

    def give_back(self) -> list[AmqpDelivery]:
        """Return what waits for a claim, which nothing here holds any more."""
        given, self._waiting = list(self._waiting), deque()
        return given

    def settled(self, tokens: Sequence[int], *, requeue: bool = False) -> list[int]:
        """Acknowledge held jobs, or (requeue) return them; return the tokens of those that are lost."""
        by_epoch: dict[int, dict[int, int]] = {}
        for token in tokens:
            held = self.held.pop(token, None)
            if held is not None:
                by_epoch.setdefault(held.epoch, {})[held.tag] = token
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
        if len(self._waiting) + len(self.held) >= self.consumer.prefetch:
            self.full = True
        self._arrived()

    def _changed(self, problem: StoreError | None) -> None:
        """Log that the queue is not consumed any more, once per reason; forget what its channel had delivered."""
        if problem is not None:
            self._lose()
            if str(problem) != self._told:
                _logger.warning("queue %r is not consumed now: %s", self.queue, problem)
            self._told = str(problem)
        elif self._told:
            self._told = ""
            _logger.info("queue %r is consumed again", self.queue)
        self._arrived()

    def _lose(self) -> None:
        self._waiting.clear()
        self.gone |= dict.fromkeys(self.held)
        self.held.clear()


def tell_refused(queue: str, reason: str) -> None:
    """Log that a message of a queue is no job."""
    _logger.error("queue %r has a message that is no job, it becomes a dead letter: %s", queue, reason)
