"""Parses "memcached:" URLs: servers, the time for an answer, and the namespace."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

from outlast.clients.url_text import check_url_text
from outlast.core import durations
from outlast.core.errors import ConfigurationError

__all__ = ["MemcachedAddress"]

PORT: Final = 11211
NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}\Z")


class MemcachedAddress(Struct, frozen=True, kw_only=True):
    """The servers as "host:port", each once, with the seconds that an answer, or a connection, may take."""

    servers: tuple[str, ...]
    timeout: float = 0.5
    namespace: str = "outlast"

    @property
    def shown(self) -> str:
        """The address for messages."""
        return f"memcached://{','.join(self.servers)}"

    @classmethod
    def of(cls, url: str) -> MemcachedAddress:
        """Return the address in a URL; raise ConfigurationError.

        memcached://host[:port][,host[:port]...][?timeout=SECONDS][&namespace=NAME].
        """
        check_url_text(url)
        try:
            parts = urlsplit(url.strip())
        except ValueError:  # its text shows the password
            raise ConfigurationError("url: it cannot be read: give 'memcached://host:11211'") from None
        if "@" in url:
            raise ConfigurationError(
                "url: Memcached is used without a password: keep it in a private network, and remove what is before '@'"
            )
        if parts.fragment or parts.path.strip("/"):
            raise ConfigurationError("url: nothing follows the host: give 'memcached://host:11211'")
        fields: dict[str, Any] = {"servers": tuple(dict.fromkeys(map(_server, parts.netloc.split(","))))}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name == "timeout":
                fields[name] = _timeout(value)
            elif name == "namespace" and NAMESPACE.match(value):
                fields[name] = value
            elif name == "namespace":
                raise ConfigurationError(f"url: ?namespace={value}: use 1 to 32 letters, digits or _ . -")
            else:
                raise ConfigurationError("url: an option is unknown; give one of timeout, namespace")
        return cls(**fields)


def _server(text: str) -> str:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host, port = None, 0
    if not host:
        raise ConfigurationError("url: a host is no 'host:port', such as 'cache.internal:11211'")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _timeout(value: str) -> float:
    try:
        given: float | str = float(value)
    except ValueError:
        given = value
    found = durations.seconds(given, "url: ?timeout")
    if not found > 0:
        raise ConfigurationError(f"url: ?timeout={value}: give more than 0 seconds")
    return found
