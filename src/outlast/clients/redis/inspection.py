"""Inspects the servers of a URL without changes: the facts of each, and the durability of accepted data."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from outlast.clients.redis.address import Address, Kind
from outlast.clients.redis.client import RedisClient
from outlast.clients.redis.facts import Facts
from outlast.core.durability import Durability

__all__ = ["ServerReport", "ServersReport", "look_at"]


class ServerReport(Struct, frozen=True):
    """One master: its endpoint and its facts."""

    name: str
    facts: Facts


class ServersReport(Struct, frozen=True, kw_only=True):
    """All masters of one URL. window: seconds of accepted data that a crash beyond `durability` may lose.

    round_trip: seconds that one request took. unreached: masters of the Cluster that could not be reached.
    """

    kind: Kind
    masters: tuple[ServerReport, ...]
    unreached: int
    durability: Durability
    window: float
    round_trip: float


async def look_at(url: str) -> ServersReport:
    """Return the report of the servers; raise StoreError, ConfigurationError."""
    client = RedisClient(Address.of(url))
    try:
        await client.open()
        loop = asyncio.get_running_loop()
        before = loop.time()
        await client.command("TIME")
        round_trip = loop.time() - before
        level, window = client.durability
        return ServersReport(
            kind=client.address.kind,
            masters=tuple(
                ServerReport(str(endpoint), facts) for endpoint, facts in sorted(client.facts.items(), key=str)
            ),
            unreached=client.unreached,
            durability=level,
            window=window,
            round_trip=round_trip,
        )
    finally:
        await client.close()
