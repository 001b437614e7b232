"""Inspects the servers of a URL without changes: the facts of each, and the durability of accepted data."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from msgspec import Struct

from outlast.clients.redis.address import Address, Kind
from outlast.clients.redis.client import RedisClient
from outlast.clients.redis.facts import Facts
from outlast.core.durability import Durability
from outlast.core.errors import StoreError

__all__ = ["ServerReport", "ServersReport", "look_at"]


_PAGE: Final = 1000
_STEPS: Final = 100
"""SCAN steps: with the page above about 100,000 keys, a tenth of a second."""


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
    keys: tuple[str, ...] = ()
    """The keys of the pattern that was asked for, of a single server only; a large server is not read to its end."""


async def look_at(url: str, pattern: str = "") -> ServersReport:
    """Return the report of the servers; raise StoreError, ConfigurationError. pattern: of the keys to look for."""
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
            keys=() if not pattern or client.address.kind == "cluster" else await _keys(client, pattern),
        )
    finally:
        await client.close()


async def _keys(client: RedisClient, pattern: str) -> tuple[str, ...]:
    found: set[str] = set()
    cursor = b"0"
    with contextlib.suppress(StoreError):  # such as a user that may not scan
        for _ in range(_STEPS):
            cursor, keys = await client.command("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
            found.update(key.decode(errors="replace") for key in keys)
            if cursor == b"0":
                break
    return tuple(sorted(found))
