"""The Redis store as a kind: `redis://HOST` and its variants, for workers on many hosts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from outlast.brokers.kind import Inspection, StoreKind
from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError
from outlast.core.findings import Finding
from outlast.core.space import Space
from outlast.core.store.store import Store

__all__ = ["RedisKind"]

_INSTALL: Final = "pip install 'outlast[redis]'"
_PAGE: Final = 500
"""Keys that one SCAN step removes."""


class RedisKind(StoreKind):
    """Jobs on a Redis or Valkey server, behind Sentinels, or on a Cluster."""

    schemes = ("redis", "rediss", "redis+", "rediss+")
    example = "redis://HOST"
    no_backup = "is a server: save its data there (redis-cli BGSAVE), and copy its files"

    def connect(self, url: str, *, clock: Clock, max_body: int) -> Store:
        """Return the store on the servers of `url` (docs/redis.md)."""
        try:
            from outlast.brokers.redis.store import store_at
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"url={self.shown(url)!r}: {_INSTALL} ({error})") from None
        return Store.of(store_at(url, clock=clock, max_body=max_body), self.shown(url))

    def identity(self, url: str) -> str:
        """Return the address with its namespace."""
        from outlast.clients.redis.address import Address

        address = Address.of(url)
        return f"{address.shown}?namespace={address.namespace}"

    async def inspect(self, url: str, *, why: str, pages: bool, spool: bool) -> Inspection:
        """Judge the facts of each server."""
        try:
            from outlast.brokers.redis.findings import of_namespaces, of_servers
            from outlast.clients.redis.address import Address
            from outlast.clients.redis.inspection import look_at
        except ModuleNotFoundError as error:
            missing = Finding("store", "error", f"{self.shown(url)} needs a package: {error}", _INSTALL)
            return Inspection([missing], usable=False)
        report = await look_at(url, "{*}:born")
        findings = [*of_servers(report, spool=spool), *of_namespaces(report.keys, Address.of(url).namespace)]
        return Inspection([Finding("store", "ok", f"{self.shown(url)} ({why})"), *findings])

    async def waiting_kinds(self, url: str, clock: Clock, queues: Iterable[str]) -> dict[tuple[str, str], int]:
        """Return the number of unfinished jobs by (queue, kind); raise StoreError. Reads each job."""
        from outlast.brokers.redis.store import store_at

        store = store_at(url, clock=clock)
        try:
            await store.open()
            return {(queue, kind): n for queue in queues for kind, n in (await store.kinds(queue)).items()}
        finally:
            await store.close()

    async def space(self, store: Store) -> Space | None:
        """Return the memory of the server and its maxmemory; None on a Cluster, behind a bridge, and without +info."""
        from outlast.brokers.redis.store import SingleServerStore

        return await store.broker.memory() if isinstance(store.broker, SingleServerStore) else None

    def isolated_url(self, url: str, name: str) -> str:
        """Return the URL with `name` as its namespace."""
        if "namespace=" in url.partition("?")[2]:
            raise ConfigurationError("leave namespace= out of the url: each run has its own namespace")
        try:
            from outlast.clients.redis.address import Address
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"{_INSTALL} ({error})") from None
        Address.of(url)
        return f"{url}{'&' if '?' in url else '?'}namespace={name}"

    async def erase(self, url: str) -> None:
        """Remove all keys of the namespace from the server; do nothing on a Cluster."""
        from outlast.clients.redis.address import Address
        from outlast.clients.redis.client import RedisClient

        address = Address.of(url)
        if address.kind == "cluster":
            return
        pattern, client = f"{{{address.namespace}[:}}]*", RedisClient(address)
        await client.open()
        try:
            cursor = b""
            while cursor != b"0":
                cursor, keys = await client.command("SCAN", cursor or b"0", "MATCH", pattern, "COUNT", _PAGE)
                if keys:
                    await client.command("UNLINK", *keys)
        finally:
            await client.close()
