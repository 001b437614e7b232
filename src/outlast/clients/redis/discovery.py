"""Finds the server for a request: the master that the Sentinels name, or the Cluster node that has the key's slot."""

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
    """Return the slot of a key, or of its {tag} if it has one (redis.io, "Cluster specification")."""
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key.encode(), 0) % SLOTS


def endpoint_in(refusal: ErrorReply, sender: Endpoint) -> Endpoint:
    """Return the target in a MOVED or ASK reply of `sender`; without a host it is another port of the same host."""
    host, _, port = str(refusal).rsplit(" ", 1)[1].rpartition(":")
    return Endpoint(host or sender.host, int(port))


async def find_master(address: Address, tls: ssl.SSLContext | None) -> Endpoint:
    """Return the master that the first Sentinel names; raise StoreUnavailable if no Sentinel names one."""
    password = address.sentinel_password
    setup = [("AUTH", *((address.sentinel_user,) if address.sentinel_user else ()), password)] if password else []
    errors: list[str] = []
    for endpoint in address.endpoints:
        try:
            connection = await Connection.connect(address, endpoint, tls=tls, setup=setup)
            try:
                found = await connection.ask(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service))
            finally:
                await connection.close()
        except StoreError as error:
            errors.append(str(meaning(error, f"Sentinel {endpoint}") if isinstance(error, ErrorReply) else error))
            continue
        if found:
            return Endpoint(found[0].decode(), int(found[1]))
        errors.append(f"Sentinel {endpoint} has no master {address.service!r}: correct the name in the url")
    raise StoreUnavailable("; ".join(errors))


class Slots:
    """The node of each slot, as the Cluster last reported it."""

    def __init__(self) -> None:
        self.masters: list[Endpoint] = []
        self._of: list[Endpoint | None] = [None] * SLOTS

    def of(self, slot: int) -> Endpoint | None:
        """Return the node that has a slot; None if no node has it, or before the first `load`."""
        return self._of[slot]

    def move(self, slot: int, to: Endpoint) -> None:
        """Record the new node of a slot."""
        self._of[slot] = to
        if to not in self.masters:
            self.masters.append(to)

    async def load(self, connection: Connection) -> None:
        """Read the nodes of all slots from one node; raise StoreError."""
        try:
            found: Sequence[Any] = await connection.ask(("CLUSTER", "SLOTS"))
        except ErrorReply as refusal:
            if "cluster support disabled" in str(refusal):
                raise StoreError(f"{connection.shown} is no Cluster node: give 'redis://' in the url") from None
            raise meaning(refusal, connection.shown) from refusal
        fresh: list[Endpoint | None] = [None] * SLOTS
        for first, last, master, *_ in found:
            host = master[0].decode() if master[0] else ""
            endpoint = Endpoint(host if host not in ("", "?") else connection.endpoint.host, int(master[1]))
            fresh[first : last + 1] = [endpoint] * (last + 1 - first)
        self._of = fresh
        self.masters = list(dict.fromkeys(each for each in fresh if each is not None))
