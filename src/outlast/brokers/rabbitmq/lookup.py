"""What a server has of an app's exchanges and queues: looked up without a change, and deleted."""

from __future__ import annotations

from outlast.brokers.rabbitmq.declared import dead_queue
from outlast.brokers.rabbitmq.native import bound_queues
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.declarations import DeclaredQueue
from outlast.clients.amqp.errors import NOT_FOUND, AmqpRefused
from outlast.core.exchanges.copies import unroutable_queue
from outlast.core.topology import Topology

__all__ = ["delete_all", "find_queue", "has_exchange", "names_there"]


async def has_exchange(client: AmqpClient, exchange: str) -> bool:
    """Tell whether the server has an exchange."""
    try:
        await client.declarations.find_exchange(exchange)
    except AmqpRefused as error:
        if error.code != NOT_FOUND:
            raise
        return False
    return True


async def find_queue(client: AmqpClient, queue: str) -> DeclaredQueue | None:
    """Return a queue, None when the server does not have it."""
    try:
        return await client.declarations.find_queue(queue)
    except AmqpRefused as error:
        if error.code != NOT_FOUND:
            raise
        return None


async def names_there(client: AmqpClient, topology: Topology) -> list[str]:
    """Return what the server has of all that a bridge declares for these exchanges: "exchange 'orders'"."""
    exchanges = [f"exchange {name!r}" for name in _exchanges(topology) if await has_exchange(client, name)]
    queues = [f"queue {name!r}" for name in _queues(topology) if await find_queue(client, name) is not None]
    return exchanges + queues


async def delete_all(client: AmqpClient, topology: Topology) -> None:
    """Delete all that a bridge declares for these exchanges, with the events and dead letters in the queues."""
    for exchange in _exchanges(topology):
        await client.declarations.delete_exchange(exchange)
    for queue in _queues(topology):
        await client.declarations.delete_queue(queue)


def _exchanges(topology: Topology) -> list[str]:
    keeping = [unroutable_queue(each.name) for each in topology.exchanges if each.unroutable == "keep"]
    return [each.name for each in topology.exchanges] + keeping


def _queues(topology: Topology) -> list[str]:
    return [name for queue in bound_queues(topology) for name in (queue, dead_queue(queue))]
