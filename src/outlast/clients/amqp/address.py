"""Parses "amqp:" URLs: servers, credentials, virtual host and the options of the connections."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

from outlast.clients.tls import is_file, tls_context
from outlast.clients.url_text import check_url_text
from outlast.core import durations
from outlast.core.errors import ConfigurationError

__all__ = ["SCHEMES", "AmqpAddress", "AmqpHost"]

SCHEMES: Final = {"amqp": False, "amqps": True}
"""Whether each scheme uses TLS."""
LONGEST_NAME: Final = 255
"""Bytes of a short string of AMQP: of a virtual host or a user."""
HEARTBEAT: Final = (1, 3600)
"""Seconds that ?heartbeat= may have."""
_NAME: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,64}\Z")


class AmqpHost(Struct, frozen=True):
    """One server."""

    host: str = "127.0.0.1"
    port: int = 5672

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, by its name or its address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class AmqpAddress(Struct, frozen=True, kw_only=True):
    """The servers of one RabbitMQ cluster, tried in turn, with the options of the connections; durations in seconds.

    heartbeat: seconds of silence after which either end gives the connection up (up to two of them may pass).
    connect_timeout: for a connection with its authentication, per server. timeout: for the answer to a declaration.
    name: shown by RabbitMQ beside the connections.
    """

    hosts: tuple[AmqpHost, ...] = (AmqpHost(),)
    vhost: str = "/"
    user: str = "guest"
    password: str = "guest"  # noqa: S105 - RabbitMQ takes it from the same machine only
    secure: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    heartbeat: int = 60
    connect_timeout: float = 5.0
    timeout: float = 10.0
    name: str = "outlast"

    def __repr__(self) -> str:
        return f"AmqpAddress({self.shown!r})"

    @property
    def scheme(self) -> str:
        """The scheme of the URL."""
        return "amqps" if self.secure else "amqp"

    @property
    def shown(self) -> str:
        """The address for messages, without credentials."""
        vhost = "" if self.vhost == "/" else self.vhost
        return f"{self.scheme}://{','.join(map(str, self.hosts))}/{vhost}"

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context, None without TLS; raise ConfigurationError for a file that cannot be used."""
        return tls_context(self.ca, self.cert, self.key) if self.secure else None

    @classmethod
    def of(cls, url: str) -> AmqpAddress:
        """Return the address in a URL; raise ConfigurationError, which names the wrong part and does not show it.

        amqp://user:password@host[:port],...[/vhost], amqps:// (TLS). Options: heartbeat, connect_timeout, timeout,
        name, and with TLS ca, cert, key. Without a user: guest, for servers on this machine only.
        """
        check_url_text(url)
        try:
            parts = urlsplit(url)
        except ValueError:  # its text shows the password
            raise ConfigurationError(
                "url: it cannot be read: give 'amqp://user:password@host:5672/vhost', an IPv6 host in [ ], "
                "and percent-encode special characters of a password ('[' as %5B)"
            ) from None
        if parts.scheme not in SCHEMES:
            raise ConfigurationError(f"url: the scheme is none of {', '.join(SCHEMES)}")
        secure = SCHEMES[parts.scheme]
        _check_separators(parts)
        credentials, _, hosts = parts.netloc.rpartition("@")
        fields: dict[str, Any] = {"hosts": _hosts(hosts, 5671 if secure else 5672), "vhost": _vhost(parts.path)}
        fields |= _credentials(credentials, fields["hosts"])
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in _OPTIONS:
                near = get_close_matches(name, _OPTIONS, 1)  # any other name may be a part of a password
                option = f"?{name}=" if near else "an option"
                raise ConfigurationError(f"url: {option} is unknown; give one of {', '.join(_OPTIONS)}")
            fields[name] = _OPTIONS[name](name, value)
        address = cls(secure=secure, **fields)
        if not secure and (address.ca or address.cert or address.key):
            raise ConfigurationError("url: ?ca=, ?cert= and ?key= need TLS: give 'amqps://'")
        if address.key and not address.cert:
            raise ConfigurationError("url: ?key= needs ?cert=, its certificate")
        return address


def _check_separators(parts: SplitResult) -> None:
    """Refuse a password with a raw / ? or #: the rest of it would be parsed as another part, and shown in errors."""
    names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if parts.fragment or "@" in parts.path or ("@" in parts.query and not names <= _OPTIONS.keys()):
        raise ConfigurationError(
            "url: there is a '/', '?' or '#' before the '@': in a name or a password write / ? # @ as %2F %3F %23 %40"
        )


def _hosts(hosts: str, port: int) -> tuple[AmqpHost, ...]:
    found: list[AmqpHost] = []
    for each in hosts.split(","):
        try:
            parts = urlsplit(f"//{each}")
            if parts.port == 0 or "@" in each:
                raise ValueError
            found.append(AmqpHost(parts.hostname or "127.0.0.1", parts.port or port))
        except ValueError:
            raise ConfigurationError("url: its host is no 'host:port', such as 'rabbit.internal:5672'") from None
    return tuple(found)


def _vhost(path: str) -> str:
    name = path.removeprefix("/")
    if "/" in name:
        raise ConfigurationError(
            "url: what follows the host is no virtual host: give one name, such as '/shop', and write / in it as %2F"
        )
    vhost = unquote(name) or "/"
    if len(vhost.encode()) > LONGEST_NAME:
        raise ConfigurationError(f"url: the virtual host is longer than {LONGEST_NAME} bytes")
    return vhost


def _credentials(credentials: str, hosts: tuple[AmqpHost, ...]) -> dict[str, str]:
    if not credentials:
        if not all(host.loopback for host in hosts):
            raise ConfigurationError(
                "url: there is no user: give 'amqp://user:password@host'; RabbitMQ refuses its default user 'guest' "
                "from other machines"
            )
        return {}
    user, colon, password = credentials.partition(":")
    if not user or not colon:
        raise ConfigurationError("url: what is before the '@' is no 'user:password'")
    if len(unquote(user).encode()) > LONGEST_NAME:
        raise ConfigurationError(f"url: the user is longer than {LONGEST_NAME} bytes")
    return {"user": unquote(user), "password": unquote(password)}


def _file(name: str, value: str) -> str:
    if not is_file(value):
        raise ConfigurationError(f"url: ?{name}={value}: no such file; give the path of a PEM file")
    return value


def _connection_name(name: str, value: str) -> str:
    if not _NAME.match(value):
        raise ConfigurationError(f"url: ?{name}={value}: use 1 to 64 letters, digits or _ . - : @")
    return value


def _duration(name: str, value: str) -> float:
    try:
        duration: float | str = float(value)
    except ValueError:
        duration = value
    seconds = durations.seconds(duration, f"url: ?{name}")
    if not seconds > 0:
        raise ConfigurationError(f"url: ?{name}={value}: give more than 0 seconds")
    return seconds


def _heartbeat(name: str, value: str) -> int:
    seconds = _duration(name, value)
    least, most = HEARTBEAT
    if not least <= seconds <= most or seconds != int(seconds):
        raise ConfigurationError(f"url: ?{name}={value}: give a whole number of {least} to {most} seconds")
    return int(seconds)


_OPTIONS: Final[dict[str, Callable[[str, str], Any]]] = {
    "heartbeat": _heartbeat,
    "connect_timeout": _duration,
    "timeout": _duration,
    "name": _connection_name,
    "ca": _file,
    "cert": _file,
    "key": _file,
}
