"""RabbitMQ as a kind of store: `amqp://HOST/VHOST`, a transport of jobs."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlencode

from outlast.brokers.kind import Inspection, StoreKind
from outlast.brokers.rabbitmq.offered import FEATURES
from outlast.core.clock import Clock
from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError, StoreError
from outlast.core.findings import Finding
from outlast.core.store.store import Store
from outlast.core.topology import Topology

__all__ = ["RabbitKind"]

_INSTALL: Final = "pip install 'outlast[rabbitmq]'"
_OPTION: Final = "consumer_timeout"
CONSUMER_TIMEOUT: Final = 1800.0
"""Seconds after which RabbitMQ, as it comes, takes a message from a consumer that has not acknowledged it. AMQP tells
no client of it, and RabbitMQ 3.10 takes no other value from a consumer."""


class RabbitKind(StoreKind):
    """Jobs on a RabbitMQ cluster, which carries them and keeps no records."""

    schemes = ("amqp", "amqps")
    example = "amqp://HOST"
    no_backup = "is a server: back up RabbitMQ's own data folder"
    features = FEATURES

    def connect(self, url: str, *, clock: Clock, max_body: int) -> Store:
        """Return the transport on the servers of `url` (docs/rabbitmq.md)."""
        try:
            from outlast.brokers.rabbitmq.broker import RabbitBroker
            from outlast.clients.amqp.address import AmqpAddress
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"url={self.shown(url)!r}: {_INSTALL} ({error})") from None
        rest, longest_run = without_timeout(url)
        address = AmqpAddress.of(rest)
        keep = "heartbeat" in dict(parse_qsl(rest.partition("?")[2]))
        broker = RabbitBroker(address, clock=clock, max_body=max_body, longest_run=longest_run, keep_heartbeat=keep)
        return Store(broker, exchanges=broker.exchanges, ask=broker.ask, url=address.shown)

    def identity(self, url: str) -> str:
        """Return the address with its virtual host."""
        from outlast.clients.amqp.address import AmqpAddress

        return AmqpAddress.of(without_timeout(url)[0]).shown

    async def inspect(self, url: str, *, why: str, pages: bool, spool: bool) -> Inspection:
        """Connect and log in."""
        try:
            from outlast.clients.amqp.address import AmqpAddress
            from outlast.clients.amqp.client import AmqpClient
        except ModuleNotFoundError as error:
            missing = Finding("store", "error", f"{self.shown(url)} needs a package: {error}", _INSTALL)
            return Inspection([missing], usable=False)
        client = AmqpClient(AmqpAddress.of(without_timeout(url)[0]))
        try:
            await client.open()
        except StoreError as error:
            return Inspection([Finding("store", "error", str(error), "see docs/rabbitmq.md")], usable=False)
        finally:
            await client.close()
        return Inspection(
            [Finding("store", "ok", f"{self.shown(url)} ({why}) carries jobs and keeps no records")], usable=False
        )

    async def declared_findings(self, url: str, topology: Topology) -> list[Finding]:
        """Look at the queues of the app and at their dead letters; the server does not list its queues over AMQP."""
        from outlast.brokers.rabbitmq.queue_findings import findings_of_queues
        from outlast.clients.amqp.address import AmqpAddress

        address = AmqpAddress.of(without_timeout(url)[0])
        return await findings_of_queues(address, [queue.name for queue in topology.queues])


def without_timeout(url: str) -> tuple[str, float]:
    """Return the URL without ?consumer_timeout=, which is not the client's, and its value in seconds."""
    start, mark, options = url.partition("?")
    pairs = parse_qsl(options, keep_blank_values=True)
    given = [value for name, value in pairs if name == _OPTION]
    if not mark or not given:
        return url, CONSUMER_TIMEOUT
    timeout = given[-1]
    try:
        longest = seconds(float(timeout), f"url: ?{_OPTION}")
    except ValueError:
        longest = seconds(timeout, f"url: ?{_OPTION}")
    if longest == 0:
        raise ConfigurationError(f"url: ?{_OPTION}={timeout}: give more than 0 seconds, the server's own value")
    rest = urlencode([(name, value) for name, value in pairs if name != _OPTION])
    return f"{start}?{rest}" if rest else start, longest
