"""Which server to ask: the master that the Sentinels name, or the node of a Cluster that has a key's slot."""

from __future__ import annotations

import ssl
from binascii import crc_hqx
from collections.abc import Sequence
from typing import Any, Final

from outlast.clients.redis.address import Address, Endpoint
from outlast.clients.redis.connection import Connection
from outlast.clients.redis.error_replies import ErrorReply, meaning
from outlast.core.errors import StoreError, StoreUnavailable

__all__ = ["SLOTS", "Slots", "endpoint_in", "find_master", "slot_of"]

SLOTS: Final = 16384


def slot_of(key: str) -> int:
    """Return a key's slot; of a key with a {tag}, that of the tag (redis.io, "Cluster specification")."""
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key.encode(), 0) % SLOTS


def endpoint_in(refusal: ErrorReply, asked: Endpoint) -> Endpoint:
    """Return where a MOVED or ASK reply of `asked` sends us; without a host it means another port of the same."""
    host, _, port = str(refusal).rsplit(" ", 1)[1].rpartition(":")
    return Endpoint(host or asked.host, int(port))


async def find_master(address: Address, tls: ssl.SSLContext | None) -> Endpoint:
    """Return the master that the first Sentinel which answers names; raise StoreUnavailable when none does."""
    who = address.sentinel_password
    greetings = [("AUTH", *((address.sentinel_user,) if address.sentinel_user else ()), who)] if who else []
    said: list[str] = []
    for endpoint in address.endpoints:
        try:
            connection = await Connection.connect(address, endpoint, tls=tls, greetings=greetings)
            try:
                found = await connection.ask(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service))
            finally:
                await connection.close()
        except ErrorReply as refusal:
            said.append(str(meaning(refusal, f"Sentinel {endpoint}")))
            continue
        except StoreError as error:
            said.append(str(error))
            continue
        if found:
            return Endpoint(found[0].decode(), int(found[1]))
        said.append(f"Sentinel {endpoint} knows no master {address.service!r}: correct the name in the url")
    raise StoreUnavailable("; ".join(said))


class Slots:
    """Which node has which slots, as the Cluster last said."""

    def __init__(self) -> None:
        self.masters: list[Endpoint] = []
        self._of: list[Endpoint | None] = [None] * SLOTS

    def of(self, slot: int) -> Endpoint | None:
        """Return the node that has a slot; None: nobody has, or none was asked yet."""
        return self._of[slot]

    def move(self, slot: int, to: Endpoint) -> None:
        """Learn that a slot is elsewhere."""
        self._of[slot] = to
        if to not in self.masters:
            self.masters.append(to)

    async def ask(self, connection: Connection) -> None:
        """Have a node say where all slots are; raise StoreError."""
        try:
            found: Sequence[Any] = await connection.ask(("CLUSTER", "SLOTS"))
        except ErrorReply as refusal:
            if "cluster support disabled" in str(refusal):
                raise StoreError(f"{connection.shown} is no Cluster node: say 'redis://' in the url") from None
            raise meaning(refusal, connection.shown) from refusal
        fresh: list[Endpoint | None] = [None] * SLOTS
        for first, last, master, *_ in found:
            host = master[0].decode() if master[0] else ""
            endpoint = Endpoint(host if host not in ("", "?") else connection.endpoint.host, int(master[1]))
            fresh[first : last + 1] = [endpoint] * (last + 1 - first)
        self._of = fresh
        self.masters = list(dict.fromkeys(each for each in fresh if each is not None))
