"""The doctor's findings about the RabbitMQ of a bridge: the server, and the queues that it feeds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from outlast.brokers.rabbitmq.declared import dead_queue
from outlast.brokers.rabbitmq.native import bound_queues
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.declarations import DeclaredQueue
from outlast.clients.amqp.errors import NOT_FOUND, AmqpRefused
from outlast.core.errors import OutlastError
from outlast.core.findings import Finding
from outlast.core.text import counted
from outlast.core.topology import Topology

__all__ = ["findings_at"]

CHECK: Final = "RabbitMQ"


async def findings_at(address: AmqpAddress, topology: Topology | None) -> list[Finding]:
    """Connect, and look at each queue that the app's exchanges feed; declare nothing."""
    client = AmqpClient(address)
    try:
        await client.open()
        found = [Finding(CHECK, "ok", f"{address.shown} answers (amqp_url)")]
        if topology is not None:
            found += [finding async for finding in _of_queues(client, topology)]
    except OutlastError as error:
        fix = "start it, or correct amqp_url; jobs of the store go on, events wait at their publishers until then"
        return [Finding(CHECK, "error", str(error), fix)]
    finally:
        await client.close()
    return found


async def _of_queues(client: AmqpClient, topology: Topology) -> AsyncIterator[Finding]:
    for exchange in topology.exchanges:
        if not await _exists(client, exchange.name):
            fix = "start a worker of the app: it declares its exchanges and queues"
            yield Finding(f"exchange {exchange.name}", "warning", "RabbitMQ does not have it", fix)
    for name in bound_queues(topology):
        queue = await _find(client, name)
        if queue is None:
            fix = "start a worker of the app: it declares its exchanges and queues"
            yield Finding(f"RabbitMQ queue {name}", "error", "it does not exist: its events go nowhere", fix)
            continue
        yield _of_queue(queue)
        dead = await _find(client, dead_queue(name))
        if dead is not None and dead.messages:
            text = f"{counted(dead.messages, 'dead letter')} in {dead.name!r}: messages that could not become jobs"
            fix = "the header outlast-reason of each says why (docs/bridge.md)"
            yield Finding(f"RabbitMQ queue {name}", "warning", text, fix)


def _of_queue(queue: DeclaredQueue) -> Finding:
    check, text = f"RabbitMQ queue {queue.name}", f"{counted(queue.messages, 'event')} waiting"
    if not queue.consumers:
        fix = "start a worker of the app with the same amqp_url: it moves the events into the store"
        return Finding(check, "error" if queue.messages else "warning", f"{text}, and no worker takes them", fix)
    return Finding(check, "ok", f"{text}, {counted(queue.consumers, 'worker')}")


async def _exists(client: AmqpClient, exchange: str) -> bool:
    try:
        await client.declarations.find_exchange(exchange)
    except AmqpRefused as error:
        if error.code != NOT_FOUND:
            raise
        return False
    return True


async def _find(client: AmqpClient, queue: str) -> DeclaredQueue | None:
    try:
        return await client.declarations.find_queue(queue)
    except AmqpRefused as error:
        if error.code != NOT_FOUND:
            raise
        return None
