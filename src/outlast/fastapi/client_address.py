"""The address of a client behind trusted proxies, as the key of a limit: no header of the client changes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Final

from starlette.requests import HTTPConnection

from outlast.core.errors import ConfigurationError
from outlast.core.text import shown

__all__ = ["ClientAddress"]

MOST_HOPS: Final = 16
"""Proxies that are looked through at most."""
_LONGEST: Final = 64
"""Characters of an address with its port; a longer text is none."""
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_BRACKETED: Final = re.compile(r"\[([^\]]*)\](?::\w*)?\Z")

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""IPv4 clients behind a translator (RFC 6052): one /64 holds all of them."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class ClientAddress:
    """Returns the address of a client: an IPv4 address, or the /64 network of an IPv6 address, of which a client has
    all; without port and zone; an IPv4 address in IPv6 form (::ffff:192.0.2.1, 64:ff9b::192.0.2.1) is the IPv4 one.

    Without options it is the peer of the connection, and no header is read. hops: the proxies between client and app,
    each of which adds an address to `header`: the last but `hops` - 1 is taken. No client may reach the app past them.
    networks: of the proxies, such as "10.0.0.0/8", "unix" for a Unix socket: the last address outside of them is taken,
    and nothing that a peer outside of them says. header: the one that the proxies write; "forwarded" (RFC 7239) is
    read by its own grammar. A client may send any other header, so no other one is read.

    Raise ConfigurationError for options that cannot work.
    """

    def __init__(
        self, *, hops: int = 0, networks: str | Iterable[str] = (), header: object = "x-forwarded-for"
    ) -> None:
        if type(hops) is not int or not 0 <= hops <= MOST_HOPS:
            raise ConfigurationError(f"ClientAddress(hops={shown(hops)}): give the proxies in front, 0 to {MOST_HOPS}")
        if not isinstance(header, str) or not _HEADER.match(header):
            raise ConfigurationError(
                f"ClientAddress(header={shown(header)}): give the header that the proxies write, such as 'forwarded'"
            )
        names = [networks] if isinstance(networks, str) or not isinstance(networks, Iterable) else list(networks)
        if hops and names:
            raise ConfigurationError("ClientAddress(hops=..., networks=...): give the one or the other")
        self._hops = hops
        self._trusts_socket = "unix" in names
        self._networks = tuple(_network(name) for name in names if name != "unix")
        self._by_network = bool(names)
        self._header = header.lower().encode("ascii")
        self._has_quotes = self._header == b"forwarded"

    def __call__(self, connection: HTTPConnection) -> str:
        """Return the address of the client, as text."""
        client = connection.scope.get("client")
        host = str(client[0]) if client else ""
        peer = _address(host)
        if self._by_network:
            found = self._outside(connection, peer) if self._is_trusted(peer, host) else peer
        else:
            found = self._behind(connection) or peer
        if found is None:
            return host or "unknown"
        return _as_key(found)

    def _is_trusted(self, address: Address | None, host: str = "") -> bool:
        if address is None:
            return self._trusts_socket and not host
        return any(address in network for network in self._networks)

    def _behind(self, connection: HTTPConnection) -> Address | None:
        """Return the address that the first trusted proxy has added, or the next one that is readable."""
        elements = [*islice(self._from_right(connection), self._hops)]
        return next((found for each in reversed(elements) if (found := self._read(each)) is not None), None)

    def _outside(self, connection: HTTPConnection, peer: Address | None) -> Address | None:
        """Return the last address outside of the networks; the one before an element that cannot be read."""
        found = peer
        for element in islice(self._from_right(connection), MOST_HOPS):
            before = self._read(element)
            if before is None:
                return found
            found = before
            if not self._is_trusted(found):
                return found
        return found

    def _from_right(self, connection: HTTPConnection) -> Iterator[str]:
        """Yield the elements of the header's list, whether on one line or several, the last one first."""
        lines = [value for name, value in connection.scope["headers"] if name == self._header]
        if lines:
            yield from _split_from_right(b",".join(lines).decode("latin-1"), ",", quotes=self._has_quotes)

    def _read(self, element: str) -> Address | None:
        if not self._has_quotes:
            return _address(element)
        pairs = (pair.strip().partition("=") for pair in _split_from_right(element, ";", quotes=True))
        named = [value.strip().strip('"') for name, _, value in pairs if name.lower() == "for"]
        return _address(named[-1]) if named else None  # of several the first one written


@lru_cache(4096)
def _as_key(address: Address) -> str:
    return str(IPv6Network((int(address) >> 64 << 64, 64))) if isinstance(address, IPv6Address) else str(address)


def _split_from_right(text: str, separator: str, *, quotes: bool) -> Iterator[str]:
    """Yield the parts of a list, the last one first. quotes: a separator within a quoted string splits nothing.

    From the right, a quote that a client leaves open changes nothing of what a proxy has added after it; and a proxy
    that repeats text of the client, such as host="a,for=192.0.2.1", does so within quotes.
    """
    if not quotes:
        while True:
            text, found, part = text.rpartition(separator)
            yield part
            if not found:
                return
    quoted, end = False, len(text)
    for at in range(len(text) - 1, -1, -1):
        if text[at] == '"' and not _is_escaped(text, at):
            quoted = not quoted
        elif text[at] == separator and not quoted:
            yield text[at + 1 : end]
            end = at
    yield text[:end]


def _is_escaped(text: str, at: int) -> bool:
    """Whether an odd number of backslashes stands before a character."""
    begin = at
    while begin and text[begin - 1] == "\\":
        begin -= 1
    return (at - begin) % 2 == 1


def _address(text: str) -> Address | None:
    """Return the address in a text such as "192.0.2.1:80", "[2001:db8::1]:80" or "fe80::1%eth0"; None if it is none."""
    text = text.strip()
    return None if len(text) > _LONGEST else _parsed(text)


@lru_cache(4096)
def _parsed(text: str) -> Address | None:
    if found := _BRACKETED.match(text):
        text = found[1]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if not isinstance(address, IPv6Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def _network(name: object) -> Network:
    try:
        network = ip_network(name, strict=False) if isinstance(name, str) else None
    except ValueError:
        network = None
    if network is None:
        raise ConfigurationError(
            f"ClientAddress(networks=...): {shown(name)} is none: give networks such as '10.0.0.0/8', or 'unix'"
        )
    if isinstance(network, IPv6Network) and any(network.subnet_of(each) for each in (_MAPPED, _TRANSLATED)):
        raise ConfigurationError(
            f"ClientAddress(networks=...): {shown(name)}: such peers count as IPv4: give the IPv4 network"
        )
    if network.prefixlen == 0:
        raise ConfigurationError(
            f"ClientAddress(networks=...): {shown(name)} holds every client, who could then say any address: "
            "give the networks of the proxies"
        )
    return network
