"""The settings of `Idempotency-Key`, with what is stored of an answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from starlette.types import Scope

from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown

__all__ = ["HEADERS", "Idempotency", "authorization", "done"]

HEADERS: Final = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-location",
        "content-type",
        "etag",
        "last-modified",
        "link",
        "location",
        "retry-after",
        "vary",
    }
)
"""The headers of an answer that are stored with it."""
_NEVER: Final = frozenset({"set-cookie", "set-cookie2", "content-length", "transfer-encoding", "connection", "date"})
_METHODS: Final = frozenset({"POST", "PATCH", "PUT", "DELETE"})
_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")
_LARGEST: Final = 64 * 1024 * 1024
_SHORTEST_TTL: Final = 1.0
_LONGEST_TTL: Final = 366 * 86_400.0


def authorization(scope: Scope) -> str:
    """Return the digest of the header Authorization, "" for an anonymous request."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return sha256(b"\n".join(values)).hexdigest() if values else ""


def done(status: int) -> bool:
    """Return whether an answer says that the work was done: 2xx, 3xx, and 402 (the payment was declined).

    Other 4xx say that the request was refused, 5xx that it failed: a repetition runs again.
    """
    return 200 <= status < 400 or status == 402


@dataclass(frozen=True, kw_only=True)
class Idempotency:
    """How requests with an Idempotency-Key are answered.

    ttl: how long an answer is kept, 1 s to 366 days; methods: of POST, PATCH, PUT, DELETE; others ignore the header.
    principal: who asks, by the ASGI scope, as text; two principals never get each other's answers. By default the
    digest of the header Authorization: give the id of the user where that changes between two tries, or where cookies
    tell users apart. stored: whether the answer of a status is stored. headers: names stored besides HEADERS.
    max_request, max_answer: bytes of a body. bare_keys: accept keys without quotes too. Raise ConfigurationError.
    """

    ttl: Duration = 86_400.0
    methods: Collection[str] = ("POST", "PATCH")
    principal: Callable[[Scope], str] = authorization
    stored: Callable[[int], bool] = done
    headers: Collection[str] = ()
    max_request: int = 1024 * 1024
    max_answer: int = 1024 * 1024
    bare_keys: bool = False

    def __post_init__(self) -> None:
        ttl = seconds(self.ttl, "Idempotency(ttl)")
        if not _SHORTEST_TTL <= ttl <= _LONGEST_TTL:
            raise ConfigurationError(f"Idempotency(ttl={shown(self.ttl)}): give 1 s to 366 days, such as '24h'")
        object.__setattr__(self, "ttl", ttl)
        object.__setattr__(self, "methods", _checked_methods(self.methods))
        object.__setattr__(self, "headers", _checked_headers(self.headers))
        for name in ("principal", "stored"):
            if not callable(getattr(self, name)):
                raise ConfigurationError(f"Idempotency({name}={shown(getattr(self, name))}): give a function")
        if type(self.bare_keys) is not bool:
            raise ConfigurationError(f"Idempotency(bare_keys={shown(self.bare_keys)}): give True or False")
        for name in ("max_request", "max_answer"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LARGEST:
                raise ConfigurationError(f"Idempotency({name}={shown(value)}): give bytes, from 1 to {_LARGEST:,}")

    @property
    def kept_for(self) -> float:
        """`ttl` in seconds."""
        return seconds(self.ttl, "Idempotency(ttl)")


def _texts(values: Any, setting: str, example: str) -> list[str]:
    if isinstance(values, str) or not isinstance(values, Collection) or not all(isinstance(x, str) for x in values):
        raise ConfigurationError(f"Idempotency({setting}={shown(values)}): give a list of names, such as {example}")
    return [*values]


def _checked_methods(methods: object) -> frozenset[str]:
    found = frozenset(each.upper() for each in _texts(methods, "methods", "['POST', 'PATCH']"))
    if not found or not found <= _METHODS:
        raise ConfigurationError(f"Idempotency(methods={shown(methods)}): give some of {', '.join(sorted(_METHODS))}")
    return found


def _checked_headers(headers: object) -> frozenset[str]:
    found = frozenset(each.lower() for each in _texts(headers, "headers", "['X-Order']"))
    for name in found:
        if not _NAME.match(name):
            raise ConfigurationError(f"Idempotency(headers={shown(headers)}): {shown(name)} is no name of a header")
        if name in _NEVER:
            raise ConfigurationError(
                f"Idempotency(headers={shown(headers)}): {shown(name)} must not be stored: leave it out"
            )
    return found | HEADERS
