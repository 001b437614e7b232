"""Looks whether the queues of a worker and those of their dead letters are there as declared, and makes them again."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from outlast.brokers.rabbitmq.declared import DEAD_MOST, dead_queue, declare_queue
from outlast.brokers.rabbitmq.lookup import find_queue
from outlast.clients.amqp.client import AmqpClient
from outlast.core.errors import ConfigurationError, StoreError

__all__ = ["QueueWatch", "tell_made_again"]

_logger = logging.getLogger("outlast.worker")


def tell_made_again(queue: str) -> None:
    """Log that the queue of the dead letters of a queue was deleted, and is there again."""
    text = (
        "queue %r was gone and is made again: the dead letters in it are lost, and what the server was to put there "
        "has waited in %r: find who deletes it, and take from that user the permission configure for it"
    )
    _logger.warning(text, dead_queue(queue), queue)


class QueueWatch:
    """Looks at queues again and again, and logs each change once."""

    def __init__(self, client: AmqpClient) -> None:
        self._client = client
        self._refused: dict[str, str] = {}
        self._full: set[str] = set()

    async def look(self, queues: Iterable[str]) -> None:
        """Make each of these queues, and that of its dead letters, if it is gone. A refusal stops no other."""
        for queue in queues:
            try:
                await self._look(queue)
            except ConfigurationError as error:
                if self._refused.get(queue) != str(error):
                    self._refused[queue] = str(error)
                    _logger.warning("queue %r cannot be declared: %s", queue, error)
            except StoreError as error:  # the consumer of the queue tells of it, too
                _logger.debug("queue %r cannot be looked at: %s", queue, error)
            else:
                if self._refused.pop(queue, None) is not None:
                    _logger.warning("queue %r is declared again", queue)

    async def _look(self, queue: str) -> None:
        name = dead_queue(queue)
        dead = await find_queue(self._client, name)
        # It is made before its queue: without it, the queue shows that it was deleted.
        gone = dead is None and await find_queue(self._client, queue) is not None
        await declare_queue(self._client.declarations, queue, self._client.address)
        if gone:
            tell_made_again(queue)
        self._note_depth(name, 0 if dead is None else dead.messages)

    def _note_depth(self, name: str, letters: int) -> None:
        if letters < DEAD_MOST:
            self._full.discard(name)
        elif name not in self._full:
            self._full.add(name)
            text = (
                "queue %r has %d dead letters: the server drops the oldest one for each further one; read or purge it"
            )
            _logger.warning(text, name, letters)
