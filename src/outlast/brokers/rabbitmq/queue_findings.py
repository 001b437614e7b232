"""The doctor's findings about the queues of an app whose jobs RabbitMQ carries; they are looked up, none is made."""

from __future__ import annotations

from collections.abc import AsyncIterator

from outlast.brokers.rabbitmq.declared import DEAD_MOST, dead_queue, declare_queue
from outlast.brokers.rabbitmq.lookup import find_queue
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.declarations import DeclaredQueue
from outlast.core.errors import ConfigurationError, OutlastError
from outlast.core.findings import Finding
from outlast.core.text import counted

__all__ = ["dead_letter_findings", "findings_of_queues"]


async def findings_of_queues(address: AmqpAddress, queues: list[str]) -> list[Finding]:
    """Connect, and look at each of these queues and at its dead letters."""
    client = AmqpClient(address)
    found: list[Finding] = []
    try:
        await client.open()
        for queue in queues:
            found += [finding async for finding in _of_queue(client, queue)]
    except OutlastError as error:
        found.append(Finding("store", "error", str(error), "see docs/rabbitmq.md"))
    finally:
        await client.close()
    return found


async def dead_letter_findings(client: AmqpClient, queue: str, check: str, told: str) -> AsyncIterator[Finding]:
    """Judge the dead letters of a queue that exists. told: what they are, and what their reason says."""
    dead = await find_queue(client, dead_queue(queue))
    if dead is None:
        text = f"its queue of dead letters, {dead_queue(queue)!r}, does not exist: they wait in {queue!r} until it does"
        yield Finding(check, "error", text, "start a worker, or let one run for a minute: it makes it again")
        return
    try:  # both are there: nothing is made, and other arguments are refused
        await declare_queue(client.declarations, queue, client.address)
    except ConfigurationError as error:
        yield Finding(check, "error", str(error), "see the message")
    if dead.messages:
        text = f"{counted(dead.messages, 'dead letter')} in {dead.name!r}{told}"
        if dead.messages >= DEAD_MOST:
            text += "; the oldest one is dropped for each further one"
        fix = "the header outlast-reason of each says why: read them with any client, and purge what is not needed"
        yield Finding(check, "warning", text, fix)


async def _of_queue(client: AmqpClient, name: str) -> AsyncIterator[Finding]:
    check = f"queue {name}"
    queue = await find_queue(client, name)
    if queue is None:
        yield Finding(check, "warning", "it does not exist yet", "start a worker of the app: it makes its queues")
        return
    yield _of_consumers(check, queue)
    async for finding in dead_letter_findings(client, name, check, ""):
        yield finding


def _of_consumers(check: str, queue: DeclaredQueue) -> Finding:
    text = f"{counted(queue.messages, 'job')} ready"
    if not queue.consumers:
        return Finding(check, "error" if queue.messages else "warning", f"{text}, no worker", "start a worker of it")
    return Finding(check, "ok", f"{text}, {counted(queue.consumers, 'worker')}")
