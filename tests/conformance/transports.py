"""The transports of the suite: brokers that keep no records, with what they lack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from msgspec import structs

from outlast.brokers.rabbitmq.broker import RabbitBroker
from outlast.brokers.rabbitmq.offered import FEATURES
from outlast.clients.amqp.address import AmqpAddress
from outlast.core.clock import Clock
from outlast.core.message import Delivery, Holder
from outlast.core.policy import DEFAULTS
from outlast.core.select import wanted
from outlast.core.store.store import CompleteStore
from tests.conformance.needs import NEEDS, TURNS
from tests.support.servers.rabbitmq_server import shared_rabbit
from tests.support.stores import StoreCase, namespace_of

__all__ = ["LACKS", "TRANSPORTS"]

LACKS: Final = frozenset((*NEEDS, TURNS))
"""What no transport has."""
_MOMENT: Final = 0.2
"""Seconds in which a message that the server has not got any more arrives here."""


class PromptTransport:
    """A transport whose claims await what the server is about to deliver: the suite claims without a wait."""

    def __init__(self, broker: RabbitBroker) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Claim until there is nothing more, or enough."""
        left = dict(demand)
        given: list[Delivery] = []
        while len(given) < limit and wanted(left):
            pause = max(wait, _MOMENT if not await self._ready(left) else 10.0)
            more = await self._broker.claim(left, limit=limit - len(given), holder=holder, lease=lease, wait=pause)
            given += more
            if not more or wait:
                break
            for each in more:
                left[each.message.queue] -= 1
        return given

    async def _ready(self, demand: Mapping[str, int]) -> bool:
        found = await self._broker.stats(wanted(demand))
        return any(each.ready for each in found.values())


def _rabbitmq(folder: Path, clock: Clock, max_body: int = DEFAULTS.max_body) -> CompleteStore:
    rabbit, vhost = shared_rabbit(), namespace_of(folder)
    rabbit.api("PUT", f"vhosts/{vhost}", {})
    rabbit.api("PUT", f"permissions/{vhost}/{rabbit.user}", {"configure": ".*", "write": ".*", "read": ".*"})
    broker = RabbitBroker(
        AmqpAddress.of(rabbit.url_of(vhost)),
        clock=clock,
        max_body=max_body,
        longest_run=1800.0,
        features=structs.replace(FEATURES, ids=True),  # the suite names its jobs
    )
    return cast("CompleteStore", PromptTransport(broker))


TRANSPORTS: list[StoreCase] = [StoreCase("rabbitmq", _rabbitmq, shared=True, durabilities=("os-crash",))]
