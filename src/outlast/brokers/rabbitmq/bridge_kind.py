"""What the registry and tools ask of a bridge: whether a store takes one, how to connect, and the doctor's findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outlast.core.errors import ConfigurationError
from outlast.core.findings import Finding

if TYPE_CHECKING:
    from outlast.brokers.kind import StoreKind
    from outlast.clients.amqp.address import AmqpAddress
    from outlast.core.clock import Clock
    from outlast.core.store.store import Store
    from outlast.core.topology import Topology

__all__ = ["BridgeKind"]

SETTING: Final = "amqp_url (Settings or OUTLAST_AMQP_URL)"
_INSTALL: Final = "pip install 'outlast[rabbitmq]'"
_SCHEMES: Final = ("amqp", "amqps")


class BridgeKind:
    """A RabbitMQ that routes the events of an app whose jobs are in a store of another kind."""

    @staticmethod
    def connect(kind: StoreKind, store: Store, amqp_url: str, *, clock: Clock, max_body: int) -> Store:
        """Return the store, of this kind, with exchanges on the RabbitMQ of `amqp_url`. No I/O.

        Raise ConfigurationError if the URL is wrong, the package is missing, or the store is RabbitMQ itself.
        """
        if set(kind.schemes) & set(_SCHEMES):
            raise ConfigurationError(
                f"{SETTING}: the url of the store is RabbitMQ already, which routes its own exchanges: leave amqp_url "
                "out, or give url='redis://...'"
            )
        _address(amqp_url)
        from outlast.brokers.rabbitmq.bridge import bridged

        return bridged(store, amqp_url, clock=clock, max_body=max_body)

    @staticmethod
    async def findings(amqp_url: str, topology: Topology | None) -> list[Finding]:
        """Look at the server and at the bound queues; change nothing. topology: of the app, None if it is not known."""
        from outlast.brokers.rabbitmq.bridge_findings import findings_at

        return await findings_at(_address(amqp_url), topology)


def _address(amqp_url: str) -> AmqpAddress:
    """Return the address in the URL; raise ConfigurationError that names the setting."""
    try:
        from outlast.clients.amqp.address import AmqpAddress
        from outlast.clients.amqp.wire import AmqpWire  # noqa: F401 - imports the vendor's library
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{SETTING}: {_INSTALL} ({error})") from None
    try:
        return AmqpAddress.of(amqp_url)
    except ConfigurationError as error:
        raise ConfigurationError(f"{SETTING}: {str(error).removeprefix('url: ')}") from None
