"""Checks of exchanges, of their bindings and of events: what no store or server could keep is refused at the edge."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final, get_args

from msgspec import json

from outlast.core.bounds import HEADERS_LIMIT, plain_text
from outlast.core.errors import ConfigurationError, InvalidEvent
from outlast.core.exchanges.header_pairs import MATCH
from outlast.core.exchanges.values import Exchange, ExchangeType, HeaderValue
from outlast.core.ids import QUEUE_NAME, fits
from outlast.core.kinds import KIND_NAME
from outlast.core.text import shown

__all__ = [
    "EVENT_HEADERS_LIMIT",
    "KEY_BYTES",
    "RESERVED",
    "UNROUTABLE",
    "checked_binding",
    "checked_event_headers",
    "checked_event_key",
    "checked_exchange",
    "checked_exchange_name",
    "header_text",
]

EXCHANGE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,127}\Z")
SERVER_PREFIX: Final = "amq."
"""RabbitMQ keeps names that begin so for itself."""
UNROUTABLE: Final = "-unroutable"
"""The end of the name of the queue that keeps what no binding of an exchange takes."""
KEY_BYTES: Final = 255
"""The most bytes of UTF-8 of a routing key, of a pattern and of the name of a header: what AMQP can carry."""
EVENT_HEADERS_LIMIT: Final = HEADERS_LIMIT - 1024
"""The most characters of all headers of an event as text: its copies have three more headers, of at most 1024."""
RESERVED: Final = "outlast-"
"""The begin of the names of the headers that a copy has besides those of its event."""
SERVER_HEADERS: Final = ("CC", "BCC")
"""RabbitMQ reads them as further routing keys, and closes the channel when they are no lists."""
MATCHES: Final = ("all", "any", "all-with-x", "any-with-x")
LEAST_INTEGER: Final = -(2**63)
MOST_INTEGER: Final = 2**63 - 1

_TYPES: Final = get_args(ExchangeType)
_KEY_NEEDS: Final = f"give text of at most {KEY_BYTES} bytes of UTF-8"
_HEADERS_NEED: Final = (
    f"give names of 1 to {KEY_BYTES} bytes of UTF-8, other than {', '.join(map(repr, SERVER_HEADERS))} and those that "
    f"begin with {RESERVED!r}, with text, finite numbers, integers of 64 bits, bools or null as values, and at most "
    f"{EVENT_HEADERS_LIMIT} characters in all"
)


def checked_exchange_name(name: object) -> str:
    """Return the name of an exchange as a plain `str`.

    Raise ConfigurationError unless it is 1 to 127 letters, digits, `_`, `-` or `.`, and does not begin with `amq.`.
    """
    if not isinstance(name, str) or not fits(EXCHANGE_NAME, name):
        raise ConfigurationError(f"exchange name {shown(name)}: use 1 to 127 letters, digits, '_', '-' or '.'")
    if name.startswith(SERVER_PREFIX):
        raise ConfigurationError(
            f"exchange name {shown(name)}: RabbitMQ keeps the names that begin with {SERVER_PREFIX!r}: give another one"
        )
    return plain_text(name)


def checked_exchange(name: object, exchange_type: object = "topic", unroutable: object = "refuse") -> Exchange:
    """Return the exchange with these settings; raise ConfigurationError for one that is not valid."""
    known = checked_exchange_name(name)
    owner = f"exchange {known!r}"
    if not (isinstance(exchange_type, str) and exchange_type in _TYPES):
        raise ConfigurationError(f"{owner}: type={shown(exchange_type)} must be one of {', '.join(map(repr, _TYPES))}")
    if not (isinstance(unroutable, str) and unroutable in ("refuse", "keep")):
        raise ConfigurationError(f"{owner}: unroutable={shown(unroutable)} must be 'refuse' or 'keep'")
    kept = known + UNROUTABLE
    if unroutable == "keep" and not (fits(QUEUE_NAME, kept) and fits(KIND_NAME, kept)):
        raise ConfigurationError(
            f"{owner}: unroutable='keep' needs a queue and a kind of jobs {kept!r}, of 1 to 64 letters, digits, '_' or "
            "'-' that begin with a letter or '_': give the exchange such a name, shorter and without dots, or "
            "unroutable='refuse'"
        )
    return Exchange(
        name=known,
        type=next(each for each in _TYPES if each == exchange_type),
        unroutable="keep" if unroutable == "keep" else "refuse",
    )


def checked_binding(
    exchange: Exchange, key: object = "", arguments: object = None
) -> tuple[str, dict[str, HeaderValue]]:
    """Return the key and the arguments of a binding to this exchange, as plain values.

    Raise ConfigurationError for a key that the exchange would not look at, or of more than KEY_BYTES; for arguments
    that it would not look at, and for names and values of arguments that no event can have.
    """
    owner = f"binding to {exchange.type} exchange {exchange.name!r}"
    plain_key = _checked_key(key, owner)
    named = _checked_headers({} if arguments is None else arguments, owner, "arguments")
    if plain_key and exchange.type in ("fanout", "headers"):
        other = "headers: give arguments" if exchange.type == "headers" else "nothing: leave the key out"
        raise ConfigurationError(
            f"{owner}: key={shown(plain_key)} has no effect, because the exchange looks at {other}, or declare the "
            "exchange with type='topic' or 'direct'"
        )
    if named and exchange.type != "headers":
        raise ConfigurationError(
            f"{owner}: arguments {shown(named)} have no effect: leave them out, or declare the exchange with "
            "type='headers'"
        )
    if MATCH in named and named[MATCH] not in MATCHES:
        raise ConfigurationError(
            f"{owner}: {MATCH}={shown(named[MATCH])} must be one of {', '.join(map(repr, MATCHES))}"
        )
    return plain_key, named


def checked_event_key(exchange: str, key: object) -> str:
    """Return the routing key of an event as a plain `str`; raise InvalidEvent, as for more than KEY_BYTES."""
    try:
        return _checked_key(key, _event_for(exchange))
    except ConfigurationError as error:
        raise InvalidEvent(str(error), "key", _KEY_NEEDS) from None


def checked_event_headers(exchange: str, headers: object) -> dict[str, HeaderValue]:
    """Return the headers of an event as plain values.

    Raise InvalidEvent for names and values that cannot be sent, for names that are reserved, and for more than
    EVENT_HEADERS_LIMIT characters in all.
    """
    owner = _event_for(exchange)
    try:
        plain = _checked_headers({} if headers is None else headers, owner, "headers")
        for name in plain:
            if name.startswith(RESERVED):
                raise ConfigurationError(
                    f"{owner}: header {shown(name)}: names that begin with {RESERVED!r} are reserved"
                )
    except ConfigurationError as error:
        raise InvalidEvent(str(error), "headers", _HEADERS_NEED) from None
    return plain


def _event_for(exchange: str) -> str:
    return f"event for exchange {exchange!r}"


def header_text(value: HeaderValue) -> str:
    """Return the value of a header as the text that a job's headers have: a text as it is, others as JSON."""
    return value if isinstance(value, str) else json.encode(value).decode()


def _checked_key(key: object, owner: str) -> str:
    if not isinstance(key, str):
        raise ConfigurationError(f"{owner}: key={shown(key)} must be text of at most {KEY_BYTES} bytes of UTF-8")
    if (size := _bytes(key, f"{owner}: key")) > KEY_BYTES:
        raise ConfigurationError(
            f"{owner}: key={shown(key, 40)} has {size} bytes of UTF-8, and AMQP carries {KEY_BYTES}: shorten it"
        )
    return plain_text(key)


def _checked_headers(headers: object, owner: str, what: str) -> dict[str, HeaderValue]:
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"{owner}: {what}={shown(headers)} must be a dict of names to values")
    plain = {_checked_name(name, owner): _checked_value(value, name, owner) for name, value in headers.items()}
    total = sum(len(name) + len(header_text(value)) for name, value in plain.items())
    if total > EVENT_HEADERS_LIMIT:
        raise ConfigurationError(
            f"{owner}: {what} of {total} characters: give at most {EVENT_HEADERS_LIMIT}, and put the rest into the body"
        )
    return plain


def _checked_name(name: object, owner: str) -> str:
    if not isinstance(name, str) or not 1 <= _bytes(name, f"{owner}: header name") <= KEY_BYTES:
        raise ConfigurationError(
            f"{owner}: header name {shown(name, 40)} must be text of 1 to {KEY_BYTES} bytes of UTF-8"
        )
    if name in SERVER_HEADERS:
        raise ConfigurationError(
            f"{owner}: header {name!r}: RabbitMQ reads it as a list of further routing keys: give it another name"
        )
    return plain_text(name)


def _checked_value(value: object, name: object, owner: str) -> HeaderValue:
    """Return a value as its plain type: enums and other subclasses may have another form in JSON or on the wire."""
    what = f"{owner}: header {shown(name)}"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _bytes(value, what)
        return plain_text(value)
    if isinstance(value, int):
        if not LEAST_INTEGER <= value <= MOST_INTEGER:
            raise ConfigurationError(f"{what}={shown(value)} does not fit into 64 bits: give it as text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigurationError(f"{what}={shown(value)}: give a finite number, or text")
        return float(value)
    raise ConfigurationError(
        f"{what}={shown(value)} of type {type(value).__name__}: give text, a number, a bool or None"
    )


def _bytes(text: str, what: str) -> int:
    """Return the size of a text in bytes of UTF-8."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"{what} {shown(text)} holds half a character (a lone surrogate): give text that UTF-8 can hold"
        ) from None
