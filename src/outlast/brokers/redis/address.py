"""What a "redis:" URL says: where the server is, who we are there, and the namespace of our keys."""

from __future__ import annotations

import re
import ssl
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Struct

from outlast.core.errors import ConfigurationError

__all__ = ["Address"]

NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


class Address(Struct, frozen=True, kw_only=True):
    """Where a server is. path: of its Unix socket, else host and port."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""
    db: int = 0
    user: str = ""
    password: str = ""
    secure: bool = False
    namespace: str = "outlast"

    @property
    def shown(self) -> str:
        """The address for messages: without who we are."""
        if self.path:
            return f"redis+unix://{self.path}"
        return f"{'rediss' if self.secure else 'redis'}://{self.host}:{self.port}/{self.db}"

    def tls(self) -> ssl.SSLContext | None:
        """Return how the connection is protected."""
        return ssl.create_default_context() if self.secure else None

    @classmethod
    def of(cls, url: str) -> Address:
        """Return what "redis://[user:password@]host[:port][/db][?namespace=name]" says; raise ConfigurationError.

        "rediss://" is the same over TLS; "redis+unix:///path/to.sock?db=0" is a socket of this host.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 6379
        except ValueError as error:
            raise ConfigurationError(f"url: {error}; give 'redis://host:6379/0'") from None
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        namespace = options.pop("namespace", "outlast")
        on_socket = parts.scheme == "redis+unix"
        db = options.pop("db", "0") if on_socket else parts.path.strip("/") or options.pop("db", "0")
        if options:
            raise ConfigurationError(f"url: ?{min(options)}= is unknown; give namespace= or db=")
        if not db.isdecimal():
            raise ConfigurationError(f"url: the database {db!r} must be a number, such as 'redis://host:6379/0'")
        if not NAMESPACE.match(namespace):
            raise ConfigurationError(f"url: namespace={namespace!r}: use 1 to 64 letters, digits or _ . -")
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=port,
            path=parts.path if on_socket else "",
            db=int(db),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            secure=parts.scheme == "rediss",
            namespace=namespace,
        )
