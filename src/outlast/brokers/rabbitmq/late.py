"""Publishes, and only then acknowledges; repeats until the server has taken both or has the jobs back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, Generic, Protocol

from typing_extensions import TypeVar

from outlast.brokers.rabbitmq.feed import QueueFeed
from outlast.brokers.rabbitmq.publishing import JobPublisher
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.core.backoff import Exponential
from outlast.core.errors import OutlastError

__all__ = ["DueMessages", "ReceiptsFeed", "Settled", "publish_then_settle"]

_logger = logging.getLogger("outlast.worker")
_PAUSE: Final = Exponential(base=0.1, cap=2.0)
_TIMEOUT: Final = 10.0
"""Seconds of one attempt to publish."""
_TELL_AGAIN: Final = 60.0


class ReceiptsFeed(Protocol):
    """What consumes a queue. ended_epoch: receipts of this channel and of those before it are lost."""

    @property
    def queue(self) -> str:
        """The name of the queue."""
        ...

    ended_epoch: int


F = TypeVar("F", bound=ReceiptsFeed, default=QueueFeed)


class DueMessages(Generic[F]):
    """A delivery, with what must be published before it is settled. token: 0 if it was never handed out."""

    __slots__ = ("delivery", "done", "feed", "messages", "token")

    def __init__(self, feed: F, messages: Sequence[AmqpMessage], delivery: AmqpDelivery, token: int = 0) -> None:
        self.feed: Final[F] = feed
        self.messages: Final = messages
        self.delivery: Final = delivery
        self.token: Final = token
        self.done: set[int] = set()
        """The places of the messages that are confirmed."""

    @property
    def over(self) -> bool:
        """Whether the server has taken it back, since its channel has ended."""
        return self.delivery.epoch <= self.feed.ended_epoch


Settled = Callable[[Sequence[DueMessages[F]]], None]


async def publish_then_settle(
    due: Sequence[DueMessages[F]],
    publisher: JobPublisher,
    settled: Settled[F],
    rng: Random,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Publish all messages of `due`, confirmed, and pass each delivery to `settled` as soon as all of its are.

    Repeats without end what was not confirmed, which may double it, except for deliveries that are `over`. The server
    keeps a delivery until it is settled: if this ends before, the job runs again.
    """
    attempt, told = 0, 0.0
    loop = asyncio.get_running_loop()
    while left := [each for each in due if not each.over and len(each.done) < len(each.messages)]:
        why = await _publish(left, publisher)
        settled([each for each in left if len(each.done) == len(each.messages)])
        if not why:
            continue
        attempt += 1
        if not told or loop.time() - told > _TELL_AGAIN:
            told = loop.time()
            _logger.warning("settlements of queue %r wait: %s", left[0].feed.queue, why)
        await sleep(_PAUSE.delay(attempt, rng))


async def _publish(due: Sequence[DueMessages[F]], publisher: JobPublisher) -> str:
    """Publish once what is not confirmed yet, and note what is; return why not all is, "" if all is."""
    places = [(each, place) for each in due for place in range(len(each.messages)) if place not in each.done]
    try:
        answers = await publisher.publish([each.messages[place] for each, place in places], _TIMEOUT)
    except OutlastError as error:
        return str(error)
    why = ""
    for (each, place), answer in zip(places, answers, strict=True):
        if answer.outcome == "confirmed":
            each.done.add(place)
        else:
            why = answer.why or answer.outcome
    return why
