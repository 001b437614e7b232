"""What the server tells of queues without its management API: ready messages, consumers, dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from outlast.brokers.rabbitmq.declared import dead_queue
from outlast.clients.amqp.declarations import AmqpDeclarations, DeclaredQueue
from outlast.clients.amqp.errors import NOT_FOUND, AmqpRefused
from outlast.core.store.broker import QueueStats

__all__ = ["counts_of"]


async def counts_of(ask: AmqpDeclarations, queues: Sequence[str]) -> dict[str, QueueStats]:
    """Return the counts of these queues; one that is not there is left out. Raise StoreError."""
    found: dict[str, QueueStats] = {}
    for queue in queues:
        state = await _find(ask, queue)
        if state is not None:
            dead = await _find(ask, dead_queue(queue))
            found[queue] = QueueStats(
                ready=state.messages, consumers=state.consumers, dead=0 if dead is None else dead.messages
            )
    return found


async def _find(ask: AmqpDeclarations, queue: str) -> DeclaredQueue | None:
    try:
        return await ask.find_queue(queue)
    except AmqpRefused as error:
        if error.code == NOT_FOUND:
            return None
        raise
