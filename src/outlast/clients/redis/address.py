"""Parses "redis:" URLs: servers, credentials, timeouts and namespace."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

from outlast.clients.tls import is_file, tls_context
from outlast.clients.url_text import check_url_text
from outlast.core import durations
from outlast.core.errors import ConfigurationError

__all__ = ["SCHEMES", "Address", "Endpoint", "Kind"]

Kind = Literal["single", "sentinel", "cluster"]

NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
SCHEMES: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+unix": ("single", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""The kind of setup that each scheme means, and whether it uses TLS."""


class Endpoint(Struct, frozen=True):
    """One server, by its host and port or by the path of its Unix socket."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


class Address(Struct, frozen=True, kw_only=True):
    """The servers with the options of their connections; durations in seconds.

    endpoints: the server, the Sentinels, or some nodes of the Cluster. service: the master's name at the Sentinels.
    timeout: for a reply; connect_timeout: for a connection with its authentication. replicas: the number of replicas
    that must have a write before it is accepted (durability "replicated"); 0 for none.
    """

    kind: Kind = "single"
    endpoints: tuple[Endpoint, ...] = (Endpoint(),)
    service: str = ""
    db: int = 0
    user: str = ""
    password: str = ""
    sentinel_user: str = ""
    sentinel_password: str = ""
    secure: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    namespace: str = "outlast"
    timeout: float = 4.0
    connect_timeout: float = 2.0
    replicas: int = 0
    fsync: bool = False
    """Whether the write must be on the disks of the master and of those replicas, not only in their memory."""

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    @property
    def shown(self) -> str:
        """The address for messages, without credentials."""
        if self.endpoints[0].path:
            return f"redis+unix://{self.endpoints[0].path}"
        scheme = ("rediss" if self.secure else "redis") + ("" if self.kind == "single" else f"+{self.kind}")
        hosts = ",".join(map(str, self.endpoints))
        path = f"{self.service}/{self.db}" if self.kind == "sentinel" else "" if self.kind == "cluster" else self.db
        return f"{scheme}://{hosts}/{path}"

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context, None without TLS; raise ConfigurationError for a file that cannot be used."""
        return tls_context(self.ca, self.cert, self.key) if self.secure else None

    @classmethod
    def of(cls, url: str) -> Address:
        """Return the address in a URL; raise ConfigurationError, which names the wrong part and does not show it.

        redis://[user:password@]host[:port][/db], rediss:// (TLS), redis+unix:///path/to.sock,
        redis+sentinel://[user:password@]host[:port],...[/service[/db]], redis+cluster://[user:password@]host[:port],...;
        the last two also with rediss+. Options: docs/redis.md.
        """
        check_url_text(url)
        try:
            parts = urlsplit(url)
        except ValueError:  # its text shows the password
            raise ConfigurationError(
                "url: it cannot be read: give 'redis://host:6379/0', an IPv6 host in [ ], "
                "and percent-encode special characters of a password ('[' as %5B)"
            ) from None
        if parts.scheme not in SCHEMES:
            raise ConfigurationError(f"url: the scheme is none of {', '.join(SCHEMES)}")
        kind, secure = SCHEMES[parts.scheme]
        _check_separators(parts)
        credentials, _, hosts = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        if credentials and ":" not in credentials:
            raise ConfigurationError("url: 'name@host' has no password: give 'user:password@host' or ':password@host'")
        fields: dict[str, Any] = {}
        if parts.scheme == "redis+unix":
            if hosts or not parts.path:
                raise ConfigurationError(
                    "url: 'redis+unix://' takes a path and no host: 'redis+unix:///run/redis.sock'"
                )
            fields["endpoints"] = (Endpoint(path=unquote(parts.path)),)
        else:
            fields["endpoints"] = _endpoints(hosts, kind)
            fields |= _path_fields(kind, [unquote(each) for each in parts.path.split("/") if each])
        if kind == "single" and len(fields["endpoints"]) > 1:
            raise ConfigurationError(
                "url: several hosts in a 'redis:' URL: give 'redis+sentinel://' or 'redis+cluster://', or one host"
            )
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in _OPTIONS:
                near = get_close_matches(name, _OPTIONS, 1)  # any other name may be a part of a password
                option = f"?{name}=" if near else "an option"
                raise ConfigurationError(f"url: {option} is unknown; give one of {', '.join(_OPTIONS)}")
            fields |= _OPTIONS[name](name, value)
        address = cls(kind=kind, secure=secure, user=unquote(user), password=unquote(password), **fields)
        _check(address)
        return address


def _check_separators(parts: SplitResult) -> None:
    """Refuse a password with a raw / ? or #: the rest of it would be parsed as another part, and shown in errors."""
    path = "" if parts.scheme == "redis+unix" else parts.path
    names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if parts.fragment or "@" in path or ("@" in parts.query and not names <= _OPTIONS.keys()):
        raise ConfigurationError(
            "url: there is a '/', '?' or '#' before the '@': in a name or a password write / ? # @ as %2F %3F %23 %40"
        )


def _endpoints(hosts: str, kind: Kind) -> tuple[Endpoint, ...]:
    port = 26379 if kind == "sentinel" else 6379
    found: list[Endpoint] = []
    for each in hosts.split(","):
        try:
            parts = urlsplit(f"//{each}")
            found.append(Endpoint(parts.hostname or "127.0.0.1", parts.port or port))
        except ValueError:
            raise ConfigurationError("url: its host is no 'host:port', such as 'redis.internal:6379'") from None
    return tuple(found)


def _path_fields(kind: Kind, path: list[str]) -> dict[str, Any]:
    """Return the fields in the path: the database, with Sentinels the service before it."""
    found: dict[str, Any] = {}
    if kind == "sentinel":
        if not path:
            raise ConfigurationError("url: name the master behind the host: 'redis+sentinel://host:26379/mymaster'")
        found["service"], path = path[0], path[1:]
    if len(path) > 1:
        raise ConfigurationError("url: what follows the host is no database: give one number, such as '/0'")
    return found | (_db("db", path[0]) if path else {})


def _db(name: str, value: str) -> dict[str, Any]:
    if not value.isdecimal():
        raise ConfigurationError("url: the database must be a number, such as 'redis://host:6379/0'")
    return {"db": int(value)}


def _text(name: str, value: str) -> dict[str, Any]:
    return {name: value}


def _file(name: str, value: str) -> dict[str, Any]:
    if not is_file(value):
        raise ConfigurationError(f"url: ?{name}={value}: no such file; give the path of a PEM file")
    return {name: value}


def _namespace(name: str, value: str) -> dict[str, Any]:
    if not NAMESPACE.match(value):
        raise ConfigurationError(f"url: ?namespace={value}: use 1 to 64 letters, digits or _ . -")
    return {name: value}


def _duration(name: str, value: str) -> dict[str, Any]:
    try:
        duration: float | str = float(value)
    except ValueError:
        duration = value
    seconds = durations.seconds(duration, f"url: ?{name}")
    if not seconds > 0:
        raise ConfigurationError(f"url: ?{name}={value}: give more than 0 seconds")
    return {name: seconds}


def _durability(name: str, value: str) -> dict[str, Any]:
    if value != "replicated":
        raise ConfigurationError(
            f"url: ?durability={value}: give only 'replicated'; the server's own settings decide the lower levels"
        )
    return {"replicas": 1}


def _replicas(name: str, value: str) -> dict[str, Any]:
    if not value.isdecimal() or value == "0":
        raise ConfigurationError(
            f"url: ?replicas={value}: give the number of replicas that must have each write, 1 or more"
        )
    return {"replicas": int(value)}


def _fsync(name: str, value: str) -> dict[str, Any]:
    if value not in ("yes", "no"):
        raise ConfigurationError(f"url: ?{name}={value}: give 'yes' or 'no'")
    return {name: value == "yes"}


_OPTIONS: Final[dict[str, Callable[[str, str], dict[str, Any]]]] = {
    "namespace": _namespace,
    "db": _db,
    "timeout": _duration,
    "connect_timeout": _duration,
    "durability": _durability,
    "replicas": _replicas,
    "fsync": _fsync,
    "ca": _file,
    "cert": _file,
    "key": _file,
    "sentinel_user": _text,
    "sentinel_password": _text,
}


def _check(address: Address) -> None:
    """Raise ConfigurationError for options that exclude each other."""
    if address.kind == "cluster" and address.db:
        raise ConfigurationError("url: a Cluster has only database 0: remove the number, use ?namespace= instead")
    if address.kind != "sentinel" and (address.sentinel_user or address.sentinel_password):
        raise ConfigurationError("url: ?sentinel_password= is for 'redis+sentinel://' only")
    if not address.secure and (address.ca or address.cert or address.key):
        raise ConfigurationError("url: ?ca=, ?cert= and ?key= need TLS: give 'rediss://'")
    if address.fsync and not address.replicas:
        raise ConfigurationError(
            "url: ?fsync=yes is for '?durability=replicated': set appendfsync for the disk of one server"
        )
    if address.key and not address.cert:
        raise ConfigurationError("url: ?key= needs ?cert=, its certificate")
