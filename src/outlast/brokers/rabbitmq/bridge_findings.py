"""The doctor's findings about the RabbitMQ of a bridge: the server, and the queues that it feeds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from outlast.brokers.rabbitmq.lookup import find_queue, has_exchange
from outlast.brokers.rabbitmq.native import bound_queues
from outlast.brokers.rabbitmq.queue_findings import dead_letter_findings
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.declarations import DeclaredQueue
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
        if not await has_exchange(client, exchange.name):
            fix = "start a worker of the app: it declares its exchanges and queues"
            yield Finding(f"exchange {exchange.name}", "warning", "RabbitMQ does not have it", fix)
    for name in bound_queues(topology):
        queue = await find_queue(client, name)
        if queue is None:
            fix = "start a worker of the app: it declares its exchanges and queues"
            yield Finding(f"RabbitMQ queue {name}", "error", "it does not exist: its events go nowhere", fix)
            continue
        yield _of_queue(queue)
        told = ": messages that could not become jobs (docs/bridge.md)"
        async for finding in dead_letter_findings(client, name, f"RabbitMQ queue {name}", told):
            yield finding


def _of_queue(queue: DeclaredQueue) -> Finding:
    check, text = f"RabbitMQ queue {queue.name}", f"{counted(queue.messages, 'event')} waiting"
    if not queue.consumers:
        fix = "start a worker of the app with the same amqp_url: it moves the events into the store"
        return Finding(check, "error" if queue.messages else "warning", f"{text}, and no worker takes them", fix)
    return Finding(check, "ok", f"{text}, {counted(queue.consumers, 'worker')}")
