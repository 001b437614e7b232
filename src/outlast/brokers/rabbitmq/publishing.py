"""Publishes to queues and buckets; declares what is missing on the server, and publishes again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec import structs

from outlast.brokers.rabbitmq.buckets import BUCKETS
from outlast.brokers.rabbitmq.declared import Refusals, dead_queue, declare_buckets, make_queues_but
from outlast.brokers.rabbitmq.queue_watch import tell_made_again
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.confirms import AmqpMessage, Publishing
from outlast.clients.amqp.errors import NOT_FOUND
from outlast.core.errors import OutlastError

__all__ = ["NOWHERE", "JobPublisher"]

_GONE: Final = 0.3
"""Seconds after which the consumers of a deleted queue know of it. RabbitMQ 3.10 tells them nothing if the queue is
made again at once: it then counts them as consumers of the new queue, and delivers them nothing."""
NOWHERE: Final = ("returned", "unsent")
"""What was told of a message that the server does not have, and never will."""
_LENGTHS: Final = {name: seconds for seconds, name in BUCKETS.items()}


class JobPublisher:
    """Publishes through a client. A queue that was deleted is made again: its jobs must have a place."""

    def __init__(self, client: AmqpClient) -> None:
        self._client = client
        self._buckets: set[str] = set()

    async def publish(self, messages: Sequence[AmqpMessage], timeout: float) -> list[Publishing]:
        """Publish the messages, confirmed; return what became of each, within about `timeout` seconds.

        Raise ConfigurationError or StoreError when what they need cannot be declared and none of them is kept.
        """
        await self._make_buckets({each.exchange for each in messages if each.exchange} - self._buckets)
        answers = await self._client.publish(messages, timeout)
        lost = [place for place, answer in enumerate(answers) if _has_no_place(answer)]
        if lost:
            await asyncio.sleep(_GONE)
            refusals = Refusals()
            try:
                await self._make_places(refusals, [messages[place] for place in lost])
                made = [place for place in lost if _place_of(messages[place]) not in refusals.errors]
                if not made and all(answer.outcome in NOWHERE for answer in answers):
                    refusals.raise_first()
            except OutlastError as error:
                if all(answer.outcome in NOWHERE for answer in answers):
                    raise
                # Raised for all of them, it would make the caller publish again what is confirmed.
                for place in lost:
                    answers[place] = structs.replace(answers[place], why=str(error))
                return answers
            for queue in {_queue_of(messages[place]) for place in made if _is_letter(messages[place])}:
                tell_made_again(queue)
            for place in lost:
                if (refused := refusals.errors.get(_place_of(messages[place]))) is not None:
                    answers[place] = structs.replace(answers[place], why=str(refused))
            again = await self._client.publish([messages[place] for place in made], timeout)
            for place, answer in zip(made, again, strict=True):
                answers[place] = answer
        return answers

    async def _make_places(self, refusals: Refusals, messages: Sequence[AmqpMessage]) -> None:
        await self._make_buckets({each.exchange for each in messages if each.exchange})
        queues = sorted({_queue_of(each) for each in messages if not each.exchange})
        await make_queues_but(refusals, self._client.declarations, queues, self._client.address)

    async def _make_buckets(self, names: set[str]) -> None:
        if names:
            lengths = sorted(_LENGTHS[name] for name in names)
            await declare_buckets(self._client.declarations, lengths, self._client.address)
            self._buckets |= names


def _queue_of(message: AmqpMessage) -> str:
    """Return the queue of jobs that a message is for, itself or with its dead letters."""
    return message.key.partition(".")[0]


def _is_letter(message: AmqpMessage) -> bool:
    return not message.exchange and message.key == dead_queue(_queue_of(message))


def _place_of(message: AmqpMessage) -> str:
    """Return what must be declared for a message, as `Refusals` names it."""
    return message.exchange or f"queue {_queue_of(message)!r}"


def _has_no_place(answer: Publishing) -> bool:
    """Tell whether a message was not kept because its queue, or the exchange of its bucket, is not there."""
    return answer.outcome == "returned" or (answer.outcome in ("unsent", "unknown") and answer.code == NOT_FOUND)
