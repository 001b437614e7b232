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
from outlast.brokers.rabbitmq.unsendable import letter_instead
from outlast.brokers.rabbitmq.waits import SettlementWaits
from outlast.clients.amqp.confirms import AmqpMessage, why_unsendable
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.clients.amqp.table import TableError
from outlast.core.backoff import Exponential
from outlast.core.errors import ConfigurationError, OutlastError
from outlast.core.text import shown

__all__ = ["DueMessages", "ReceiptsFeed", "Settled", "publish_then_settle"]

_logger = logging.getLogger("outlast.worker")
_PAUSE: Final = Exponential(base=0.1, cap=2.0)
_TIMEOUT: Final = 10.0
"""Seconds of one attempt to publish."""


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

    __slots__ = ("delivery", "done", "feed", "messages", "replaced", "token")

    def __init__(self, feed: F, messages: Sequence[AmqpMessage], delivery: AmqpDelivery, token: int = 0) -> None:
        self.feed: Final[F] = feed
        self.messages: Final = list(messages)
        self.delivery: Final = delivery
        self.token: Final = token
        self.done: set[int] = set()
        """The places of the messages that are confirmed."""
        self.replaced: dict[int, bool] = {}
        """The places of messages that were replaced, and whether by a letter that is bare."""

    def replace(self, place: int, why: str) -> bool:
        """Put a dead letter in the place of a message that cannot be sent; False if not even a bare one can."""
        if self.replaced.get(place):
            return False
        bare = self.replaced[place] = place in self.replaced
        message = self.messages[place]
        letter = self.messages[place] = letter_instead(message, why, bare=bare)
        if not bare:
            text = "queue %r: message %r of kind %r cannot be sent and becomes a dead letter in %r: %s"
            named = shown(message.properties.message_id), shown(message.properties.type)
            _logger.error(text, self.feed.queue, *named, letter.key, why)
        return True

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
    waits: SettlementWaits,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Publish all messages of `due`, confirmed, and pass each delivery to `settled` as soon as all of its are.

    Repeats without end what was not confirmed, which may double it, except for deliveries that are `over`. A message
    that can never be sent is replaced by its dead letter. The server keeps a delivery until it is settled: if this ends
    before, the job runs again.
    """
    attempt, work = 0, object()
    try:
        while left := [each for each in due if not each.over and len(each.done) < len(each.messages)]:
            why = await _publish(left, publisher)
            settled([each for each in left if len(each.done) == len(each.messages)])
            if not why:
                continue
            attempt += 1
            waiting = [each for each in left if len(each.done) < len(each.messages)]
            waits.wait(work, len(waiting), waiting[0].feed.queue, why)
            await sleep(_PAUSE.delay(attempt, rng))
    except BaseException:
        waits.forget(work)
        raise
    waits.end(work)


async def _publish(due: Sequence[DueMessages[F]], publisher: JobPublisher) -> str:
    """Publish once what is not confirmed yet, and note what is; replace what can never be sent.

    Return why a message must wait, "" if none must: what was replaced is published at once.
    """
    places = [(each, place) for each in due for place in range(len(each.messages)) if place not in each.done]
    try:
        answers = await publisher.publish([each.messages[place] for each, place in places], _TIMEOUT)
    except (TableError, ConfigurationError) as error:  # of one message: nothing was sent
        return "" if _replace_unsendable(places) else str(error)
    except OutlastError as error:
        return str(error)
    why = ""
    for (each, place), answer in zip(places, answers, strict=True):
        if answer.outcome == "confirmed":
            each.done.add(place)
        elif not (answer.never and each.replace(place, answer.why)):
            why = answer.why or answer.outcome
    return why


def _replace_unsendable(places: Sequence[tuple[DueMessages[F], int]]) -> bool:
    """Replace the messages that AMQP cannot say; tell whether there was one, and all of them are replaced."""
    found = [(each, place, why) for each, place in places if (why := why_unsendable(each.messages[place]))]
    replaced = [each.replace(place, why) for each, place, why in found]
    return bool(replaced) and all(replaced)
