"""What a "redis:" URL says: where the servers are, who we are there, how long we wait, and which keys are ours."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

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
"""What each scheme means: the kind of setup, and whether it goes over TLS."""

_PORTS: Final[dict[Kind, int]] = {"single": 6379, "sentinel": 26379, "cluster": 6379}


class Endpoint(Struct, frozen=True):
    """One server. path: of its Unix socket, else host and port."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


class Address(Struct, frozen=True, kw_only=True):
    """Where the servers are and what we ask of them; durations in seconds.

    endpoints: the server, the Sentinels, or some nodes of the Cluster. service: the master's name at the Sentinels.
    timeout: for an answer; connect_timeout: for a connection, greetings included. replicas: how many must have what was
    accepted before it is said to be (durability "replicated"); 0 asks none of them.
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
    """It is on the disks of the master and of those replicas by then, not only in their memory."""

    @property
    def scheme(self) -> str:
        """The scheme that says the same."""
        return ("rediss" if self.secure else "redis") + ("" if self.kind == "single" else f"+{self.kind}")

    @property
    def shown(self) -> str:
        """The address for messages: without who we are."""
        if self.endpoints[0].path:
            return f"redis+unix://{self.endpoints[0].path}"
        hosts = ",".join(map(str, self.endpoints))
        place = f"{self.service}/{self.db}" if self.kind == "sentinel" else "" if self.kind == "cluster" else self.db
        return f"{self.scheme}://{hosts}/{place}"

    def tls(self) -> ssl.SSLContext | None:
        """Return how a connection is protected; raise ConfigurationError for a file that cannot be used."""
        if not self.secure:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(f"{name}={value}" for name, value in (("ca", self.ca), ("cert", self.cert)) if value)
            raise ConfigurationError(f"url: ?{files}: {error}; give readable PEM files") from None
        return context

    @classmethod
    def of(cls, url: str) -> Address:
        """Return what a URL says; raise ConfigurationError, which names what is wrong and shows no password.

        redis://[user:password@]host[:port][/db], rediss:// (TLS), redis+unix:///path/to.sock,
        redis+sentinel://[user:password@]host[:port],...[/service[/db]], redis+cluster://[user:password@]host[:port],...;
        the last two also with rediss+. Options: docs/redis.md.
        """
        try:
            parts = urlsplit(url)
        except ValueError:  # its text shows the password
            raise ConfigurationError(
                "url: it cannot be read: give 'redis://host:6379/0', an IPv6 host in [ ], "
                "and write odd letters of a password as %5B and so on"
            ) from None
        if parts.scheme not in SCHEMES:
            raise ConfigurationError(f"url={parts.scheme + ':'!r}...: give one of {', '.join(SCHEMES)}")
        kind, secure = SCHEMES[parts.scheme]
        _check_marks(parts)
        who, _, hosts = parts.netloc.rpartition("@")
        user, _, password = who.partition(":")
        if who and ":" not in who:
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
            fields |= _place(kind, [unquote(each) for each in parts.path.split("/") if each])
        if kind == "single" and len(fields["endpoints"]) > 1:
            raise ConfigurationError(
                "url: several hosts in a 'redis:' URL: say 'redis+sentinel://' or 'redis+cluster://', or name one"
            )
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in _OPTIONS:
                raise ConfigurationError(f"url: ?{name}= is unknown; give one of {', '.join(_OPTIONS)}")
            fields |= _OPTIONS[name](name, value)
        made = cls(kind=kind, secure=secure, user=unquote(user), password=unquote(password), **fields)
        _check(made)
        return made


def _check_marks(parts: SplitResult) -> None:
    """Refuse a password that ends early, for what follows its mark would be taken for another part, and be shown."""
    path = "" if parts.scheme == "redis+unix" else parts.path
    if parts.fragment or "@" in path or ("@" in parts.query and not _names(parts.query) <= _OPTIONS.keys()):
        raise ConfigurationError(
            "url: there is a '/', '?' or '#' before the '@': in a name or a password write / ? # @ as %2F %3F %23 %40"
        )


def _names(query: str) -> set[str]:
    return {name for name, _ in parse_qsl(query, keep_blank_values=True)}


def _endpoints(hosts: str, kind: Kind) -> tuple[Endpoint, ...]:
    found: list[Endpoint] = []
    for each in hosts.split(","):
        try:
            parts = urlsplit(f"//{each}")
            found.append(Endpoint(parts.hostname or "127.0.0.1", parts.port or _PORTS[kind]))
        except ValueError:
            raise ConfigurationError(f"url: {each!r} is no 'host:port', such as 'redis.internal:6379'") from None
    return tuple(found)


def _place(kind: Kind, path: list[str]) -> dict[str, Any]:
    """Return what the path says: a database, with Sentinels the service before it."""
    found: dict[str, Any] = {}
    if kind == "sentinel":
        if not path:
            raise ConfigurationError("url: name the master behind the host: 'redis+sentinel://host:26379/mymaster'")
        found["service"], path = path[0], path[1:]
    if len(path) > 1:
        raise ConfigurationError(f"url: '/{'/'.join(path)}' is no database: give a number, such as '/0'")
    return found | (_db("db", path[0]) if path else {})


def _db(name: str, value: str) -> dict[str, Any]:
    if not value.isdecimal():
        raise ConfigurationError(f"url: the database {value!r} must be a number, such as 'redis://host:6379/0'")
    return {"db": int(value)}


def _text(name: str, value: str) -> dict[str, Any]:
    return {name: value}


def _file(name: str, value: str) -> dict[str, Any]:
    if not Path(value).is_file():
        raise ConfigurationError(f"url: ?{name}={value}: no such file; give the path of a PEM file")
    return {name: value}


def _namespace(name: str, value: str) -> dict[str, Any]:
    if not NAMESPACE.match(value):
        raise ConfigurationError(f"url: ?namespace={value}: use 1 to 64 letters, digits or _ . -")
    return {name: value}


def _duration(name: str, value: str) -> dict[str, Any]:
    try:
        given: float | str = float(value)
    except ValueError:
        given = value
    length = durations.seconds(given, f"url: ?{name}")
    if not length > 0:
        raise ConfigurationError(f"url: ?{name}={value}: give more than 0 seconds")
    return {name: length}


def _durability(name: str, value: str) -> dict[str, Any]:
    if value != "replicated":
        raise ConfigurationError(
            f"url: ?durability={value}: only 'replicated' can be asked for; less is what the server's settings say"
        )
    return {"replicas": 1}


def _replicas(name: str, value: str) -> dict[str, Any]:
    if not value.isdecimal() or value == "0":
        raise ConfigurationError(f"url: ?replicas={value}: give how many replicas must have each write, 1 or more")
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


def _check(made: Address) -> None:
    """Raise ConfigurationError for what does not go together."""
    if made.kind == "cluster" and made.db:
        raise ConfigurationError("url: a Cluster has only database 0: leave the number out, use ?namespace= instead")
    if made.kind != "sentinel" and (made.sentinel_user or made.sentinel_password):
        raise ConfigurationError("url: ?sentinel_password= is for 'redis+sentinel://' only")
    if not made.secure and (made.ca or made.cert or made.key):
        raise ConfigurationError("url: ?ca=, ?cert= and ?key= need TLS: say 'rediss://'")
    if made.fsync and not made.replicas:
        raise ConfigurationError(
            "url: ?fsync=yes is for '?durability=replicated': one server's disk is its appendfsync"
        )
    if made.key and not made.cert:
        raise ConfigurationError("url: ?key= needs ?cert=, the certificate it belongs to")
