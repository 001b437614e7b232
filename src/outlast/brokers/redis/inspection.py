"""Looks at the servers behind a URL for people, and changes nothing: what each is like, and what jobs survive there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec import Struct

from outlast.brokers.redis.address import Address, Kind
from outlast.brokers.redis.facts import Facts
from outlast.brokers.redis.link import RedisClient
from outlast.brokers.redis.store import RedisStore
from outlast.core.clock import Clock
from outlast.core.durability import Durability

__all__ = ["ServerReport", "ServersReport", "look_at", "waiting_kinds"]


class ServerReport(Struct, frozen=True):
    """One master: where it is, and what it says of itself."""

    name: str
    facts: Facts


class ServersReport(Struct, frozen=True, kw_only=True):
    """All masters behind one URL. window: seconds of acceptance that a crash beyond `durability` may lose.

    round_trip: seconds that one request took. silent: masters of the Cluster that could not be reached.
    """

    kind: Kind
    masters: tuple[ServerReport, ...]
    silent: int
    durability: Durability
    window: float
    round_trip: float


async def look_at(url: str) -> ServersReport:
    """Return what there is; raise StoreError, ConfigurationError."""
    link = RedisClient(Address.of(url))
    try:
        await link.open()
        loop = asyncio.get_running_loop()
        before = loop.time()
        await link.command("TIME")
        round_trip = loop.time() - before
        level, window = link.durability
        return ServersReport(
            kind=link.address.kind,
            masters=tuple(
                ServerReport(str(endpoint), facts) for endpoint, facts in sorted(link.facts.items(), key=str)
            ),
            silent=link.silent,
            durability=level,
            window=window,
            round_trip=round_trip,
        )
    finally:
        await link.close()


async def waiting_kinds(url: str, clock: Clock, queues: Iterable[str]) -> dict[tuple[str, str], int]:
    """Return how many unfinished jobs there are by (queue, kind); reads each, a thousand a look. Raise StoreError."""
    store = RedisStore(url, clock=clock)
    try:
        await store.open()
        return {(queue, kind): n for queue in queues for kind, n in (await store.kinds(queue)).items()}
    finally:
        await store.close()
