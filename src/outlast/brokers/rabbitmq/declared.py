"""The queues and exchanges of the transport: their arguments, how they are declared, and why that may be refused."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

from outlast.brokers.rabbitmq.buckets import BUCKETS
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.declarations import AmqpDeclarations
from outlast.clients.amqp.errors import NOT_FOUND, AmqpRefused
from outlast.clients.amqp.table import FieldValue
from outlast.core.errors import ConfigurationError
from outlast.core.policy import DEFAULTS

__all__ = [
    "DEAD_BYTES",
    "DEAD_MOST",
    "Refusals",
    "dead_queue",
    "declare_buckets",
    "declare_queue",
    "make_queues",
    "make_queues_but",
    "queue_arguments",
]

_ANY: Final = (1 << 31) - 1
"""The limit of deliveries. Without one RabbitMQ 4 dead-letters a message at its 21st delivery, though it may never have
run; -1, which means none there, makes 3.10 destroy it at the first return."""
_QUORUM: Final[Mapping[str, FieldValue]] = {"x-queue-type": "quorum", "x-delivery-limit": _ANY}
_SAFE: Final[Mapping[str, FieldValue]] = {
    "x-dead-letter-exchange": "",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
"""A message leaves for its next queue only when that one has it. at-least-once needs reject-publish."""
DEAD_MOST: Final = 100_000
"""The most dead letters of a queue; the server drops the oldest one for each further one."""
DEAD_BYTES: Final = 1 << 30
"""The most bytes of their bodies: large ones would fill the disk of the server, whose alarm stops all publishes."""
_KEPT: Final = 1.0
"""Seconds after which a server that is killed still knows a new queue. RabbitMQ 3.10 writes its list of quorum queues
twice a second: one that it made just before a kill takes and gives no message any more, though it confirmed some."""
_ACCESS_REFUSED: Final = 403
_OTHER: Final = re.compile(r"inequivalent arg '([^']+)' for (?:queue|exchange) '[^']*' in vhost '[^']*': (.+)")


def dead_queue(queue: str) -> str:
    """Return the name of the queue of the dead letters of a queue; names of queues have no dot of their own."""
    return f"{queue}.dead"


def queue_arguments(queue: str) -> dict[str, FieldValue]:
    """Return the arguments of a queue of jobs: one set, valid and equal for RabbitMQ 3.10 to 4."""
    return {**_QUORUM, **_SAFE, "x-dead-letter-routing-key": dead_queue(queue)}


def _dead_arguments() -> dict[str, FieldValue]:
    return {
        **_QUORUM,
        "x-message-ttl": int(DEFAULTS.dead_ttl * 1000),
        "x-max-length": DEAD_MOST,
        "x-max-length-bytes": DEAD_BYTES,
        "x-overflow": "drop-head",
    }


def _bucket_arguments(seconds: float) -> dict[str, FieldValue]:
    # Without a routing key of its own: the message keeps the one that it came with, which is its queue.
    return {**_QUORUM, **_SAFE, "x-message-ttl": int(seconds * 1000)}


class Refusals:
    """What the server refused, of several declarations: one refusal does not stop those after it."""

    def __init__(self) -> None:
        self.errors: dict[str, ConfigurationError] = {}
        """By what was refused: "queue 'mail'"."""

    @contextmanager
    def of(self, subject: str) -> Iterator[None]:
        """Note a ConfigurationError of the block, and go on."""
        try:
            yield
        except ConfigurationError as error:
            self.errors[subject] = error

    def raise_first(self) -> None:
        """Raise ConfigurationError with the text of the first refusal and the names of the others."""
        if self.errors:
            first, *others = self.errors
            more = f"; refused too: {', '.join(others)}" if others else ""
            raise ConfigurationError(f"{self.errors[first]}{more}") from None


async def make_queues(to: AmqpDeclarations, queues: Iterable[str], address: AmqpAddress) -> None:
    """Declare queues of jobs, all that can be, and wait until new ones are kept; raise as `declare_queue`.

    `to` must not be the channel of a consumer: it ends at a queue that is not there.
    """
    refusals = Refusals()
    await make_queues_but(refusals, to, queues, address)
    refusals.raise_first()


async def make_queues_but(
    refusals: Refusals, to: AmqpDeclarations, queues: Iterable[str], address: AmqpAddress
) -> None:
    """Make queues as `make_queues`, and note in `refusals`, by its name, what the server refuses; raise StoreError."""
    new = False
    for queue in queues:
        with refusals.of(f"queue {queue!r}"):
            missing = not await _exists(to, queue)
            await declare_queue(to, queue, address)
            new = new or missing
    if new:
        await asyncio.sleep(_KEPT)


async def _exists(to: AmqpDeclarations, queue: str) -> bool:
    try:
        await to.find_queue(queue)
    except AmqpRefused as error:
        if error.code == NOT_FOUND:
            return False
        raise
    return True


async def declare_queue(to: AmqpDeclarations, queue: str, address: AmqpAddress) -> None:
    """Declare a queue of jobs, its dead letters first. address: of the server, for errors.

    Raise ConfigurationError for one that exists with other arguments and for a user who may not, else StoreError.
    """
    await _declare(to, dead_queue(queue), _dead_arguments(), address)
    await _declare(to, queue, queue_arguments(queue), address)


async def declare_buckets(to: AmqpDeclarations, lengths: Iterable[float], address: AmqpAddress) -> None:
    """Declare the buckets of these lengths, and wait until new ones are kept; raise as `declare_queue`."""
    names = {seconds: BUCKETS[seconds] for seconds in lengths}
    new = bool(names) and not await _exists(to, names[max(names)])
    for seconds, name in names.items():
        await _declare(to, name, _bucket_arguments(seconds), address)
        try:
            await to.declare_exchange(name, "fanout")
            await to.bind_queue(name, name)
        except AmqpRefused as error:
            raise _refused(error, f"exchange {name!r}", name, address) from None
    if new:
        await asyncio.sleep(_KEPT)


async def _declare(to: AmqpDeclarations, name: str, arguments: Mapping[str, FieldValue], address: AmqpAddress) -> None:
    try:
        await to.declare_queue(name, arguments=arguments)
    except AmqpRefused as error:
        raise _refused(error, f"queue {name!r}", name, address) from None


def _refused(error: AmqpRefused, subject: str, name: str, address: AmqpAddress) -> Exception:
    """Return the error for a refused declaration: what differs, and how to get rid of it."""
    found = _OTHER.search(error.text)
    if found is not None:
        vhost = address.vhost
        return ConfigurationError(
            f"{subject} exists at {address.shown} with another {found[1]}: {found[2]}. Move its messages to another "
            f"queue with {_drain(name, vhost)} (plug-in rabbitmq_shovel), delete it with rabbitmqctl delete_queue "
            f"-p {vhost} {name}, start again, and move them back; or give the job another queue="
        )
    if error.code == _ACCESS_REFUSED:
        return ConfigurationError(
            f"{subject} cannot be declared at {address.shown}: {error.text}: give the user the permissions configure, "
            f"write and read on {name!r} and amq.default (rabbitmqctl set_permissions)"
        )
    return error


def _drain(name: str, vhost: str) -> str:
    """Return the command that moves all messages of a queue to another one."""
    uri = f"amqp:///{quote(vhost, safe='')}"
    settings = {
        "src-protocol": "amqp091",
        "src-uri": uri,
        "src-queue": name,
        "src-delete-after": "queue-length",
        "dest-protocol": "amqp091",
        "dest-uri": uri,
        "dest-queue": f"{name}.old",
    }
    return f"rabbitmqctl set_parameter -p {vhost} shovel drain '{json.dumps(settings)}'"
