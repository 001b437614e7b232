"""Exchanges and bindings of an app on the server itself: how they are declared, and why that may be refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from outlast.brokers.rabbitmq.declared import Refusals, declare_queue, make_queues_but
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.declarations import AmqpDeclarations
from outlast.clients.amqp.errors import ACCESS_REFUSED, AmqpRefused
from outlast.clients.amqp.table import FieldValue
from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.copies import unroutable_queue
from outlast.core.exchanges.values import Binding, Exchange
from outlast.core.topology import Topology

__all__ = ["bound_queues", "declare_all", "declare_exchange", "declare_fed_queue"]

_ALTERNATE: Final = "alternate-exchange"
_CURRENT: Final = re.compile(r"inequivalent arg '([^']+)' for exchange '[^']*' in vhost '[^']*': (.+)", re.DOTALL)


def bound_queues(topology: Topology) -> list[str]:
    """Return the queues that the server feeds, each once: those with a binding, and those that keep what none takes."""
    keeping = [unroutable_queue(each.name) for each in topology.exchanges if each.unroutable == "keep"]
    return list(dict.fromkeys((*(each.queue for each in topology.bindings), *keeping)))


async def declare_all(to: AmqpDeclarations, topology: Topology, address: AmqpAddress) -> None:
    """Declare all exchanges, bound queues with those of their dead letters, and bindings; what is there stays.

    What is refused stops nothing else, but the bindings that need it. `to` must not be the channel of a consumer: it
    ends at a queue that is not there. Raise ConfigurationError for what exists with other settings and for a user who
    may not, else StoreError.
    """
    refusals = Refusals()
    await make_queues_but(refusals, to, bound_queues(topology), address)
    for exchange in topology.exchanges:
        with refusals.of(f"exchange {exchange.name!r}"):
            await declare_exchange(to, exchange, address)
    for each in topology.bindings:
        if refusals.errors.keys().isdisjoint((f"queue {each.queue!r}", f"exchange {each.exchange!r}")):
            with refusals.of(f"binding of queue {each.queue!r} to exchange {each.exchange!r}"):
                await _bind(to, (each,), address)
    refusals.raise_first()


async def declare_exchange(to: AmqpDeclarations, exchange: Exchange, address: AmqpAddress) -> None:
    """Declare an exchange, after the queue that keeps what no binding takes; raise as `declare_all`."""
    arguments: dict[str, FieldValue] = {}
    if exchange.unroutable == "keep":
        # The server hands an event that no binding takes to this exchange, which has one queue for all.
        kept = unroutable_queue(exchange.name)
        arguments[_ALTERNATE] = kept
        await _declare_exchange(to, kept, "fanout", {}, address)
        await declare_queue(to, kept, address)
        await _bind(to, [Binding(exchange=kept, queue=kept, kind=kept, parameter="event")], address)
    await _declare_exchange(to, exchange.name, exchange.type, arguments, address)


async def declare_fed_queue(to: AmqpDeclarations, topology: Topology, queue: str, address: AmqpAddress) -> None:
    """Declare one of `bound_queues` with all that feeds it; raise as `declare_all`."""
    bindings = [each for each in topology.bindings if each.queue == queue]
    names = {each.exchange for each in bindings}
    for exchange in topology.exchanges:
        if exchange.name in names or (exchange.unroutable == "keep" and unroutable_queue(exchange.name) == queue):
            await declare_exchange(to, exchange, address)
    if bindings:
        await declare_queue(to, queue, address)
        await _bind(to, bindings, address)


async def _bind(to: AmqpDeclarations, bindings: Iterable[Binding], address: AmqpAddress) -> None:
    for each in bindings:
        try:
            await to.bind_queue(each.queue, each.exchange, each.key, each.arguments)
        except AmqpRefused as error:
            if error.code != ACCESS_REFUSED:
                raise
            raise ConfigurationError(
                f"queue {each.queue!r} cannot be bound to exchange {each.exchange!r} at {address.shown}: {error.text}: "
                f"give the user the permissions write on {each.queue!r} and read on {each.exchange!r} "
                "(rabbitmqctl set_permissions)"
            ) from None


async def _declare_exchange(
    to: AmqpDeclarations, name: str, kind: str, arguments: Mapping[str, FieldValue], address: AmqpAddress
) -> None:
    try:
        await to.declare_exchange(name, kind, arguments=arguments)
    except AmqpRefused as error:
        raise _refused(error, name, address) from None


def _refused(error: AmqpRefused, name: str, address: AmqpAddress) -> Exception:
    """Return the error for a refused exchange: the setting, the difference and the fix."""
    if (found := _CURRENT.search(error.text)) is not None:
        setting = {"type": "type=", _ALTERNATE: "unroutable="}.get(found[1], found[1])
        return ConfigurationError(
            f"exchange {name!r} exists at {address.shown} with another {found[1]}: {found[2]}: declare it with the "
            f"{setting} that it has, give it another name, or delete it with all bindings, also those of other teams: "
            f"rabbitmqadmin --vhost={address.vhost} delete exchange name={name}"
        )
    if error.code == ACCESS_REFUSED:
        return ConfigurationError(
            f"exchange {name!r} cannot be declared at {address.shown}: {error.text}: give the user the permissions "
            f"configure, write and read on {name!r} (rabbitmqctl set_permissions)"
        )
    return error
