"""Messages of AMQP that no job, or no event, can be made of: each with the reason that is expected.

Every one is accepted by RabbitMQ: the server itself ends the connection of a sender at a table that is cut, at an
unknown type, at NaN, and at properties that it reads (expiration, user_id, delivery_mode, CC).
"""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from outlast.clients.amqp.properties import MessageProperties, encode_properties
from outlast.clients.amqp.table import encode_table
from tests.support.amqp_tables import a_field, as_table, long, nested, short

__all__ = ["FIELD_TYPES", "MalformedMessage", "Why", "malformed_messages", "odd_messages"]

Why = Literal["json", "object", "depth", "size", "arguments", "kind", "id", "headers", "properties"]
"""What is wrong.

json: the body is no JSON, or has numbers or text that no reader here takes. object: it is JSON, but no object. depth:
more than NESTED_LIMIT levels. size: more than max_body. arguments: they do not fit the handler. kind, id: the property
is not there, or no kind or id. headers: they cannot be read, have more than HEADERS_LIMIT characters, or one of ours is
wrong. properties: one is not UTF-8.
"""
BIG: Final = 10_000_000
"""Bytes of the bodies that are too big."""


class MalformedMessage(Struct, frozen=True, kw_only=True):
    """A message as it is published. name: what it is; not unique. properties: as on the wire, their flags first.

    job: why no job can be made of it, of a handler with the one parameter `number: int`; event: why no event can, of a
    handler with the one parameter `event: dict[str, int]`. None when one can.
    """

    name: str
    properties: bytes
    body: bytes
    job: Why | None
    event: Why | None


FIELD_TYPES: Final[Mapping[str, bytes]] = {
    "true": b"t\1",
    "a bool of 2": b"t\2",
    "int8": b"b\x80",
    "uint8": b"B\xff",
    "int16": b"s\x80\0",
    "uint16": b"u\xff\xff",
    "int32": b"I\x80\0\0\0",
    "uint32": b"i\xff\xff\xff\xff",
    "int64": b"l\x80" + bytes(7),
    "int64 by another tag": b"L" + b"\xff" * 8,
    "float": b"f" + struct.pack(">f", 1.5),
    "double": b"d" + struct.pack(">d", 1e300),
    "minus zero": b"d" + struct.pack(">d", -0.0),
    "decimal": b"D\2\0\0\0\x96",
    "the largest decimal": b"D\xff\xff\xff\xff\xff",
    "timestamp": b"T" + struct.pack(">Q", 1_700_000_000),
    "a timestamp beyond all dates": b"T" + b"\xff" * 8,
    "text": b"S" + long("ü".encode()),
    "no text": b"S" + long(b""),
    "text that is not UTF-8": b"S" + long(b"\xff"),
    "octets": b"x" + long(b"\xff\0"),
    "void": b"V",
    "array": b"A" + long(b"t\1VA" + long(b"")),
    "table": b"F" + long(b"\1at\1\1bF" + long(b"")),
}
"""A value of every type that RabbitMQ carries, as on the wire, its tag first."""

_RIGHT: Final = b'{"number": 1}'
_Case = tuple[str, Any, Why | None, Why | None]
_BODIES: Final[tuple[_Case, ...]] = (
    # what it is, the body, why it is no job, why it is no event
    ("an empty body", b"", "json", "json"),
    ("blanks", b" \n\t", "json", "json"),
    ("a word", b"hello", "json", "json"),
    ("an object that is cut", b'{"number": 1', "json", "json"),
    ("two objects", b'{"number": 1}{"number": 2}', "json", "json"),
    ("a trailing comma", b'{"number": 1,}', "json", "json"),
    ("single quotes", b"{'number': 1}", "json", "json"),
    ("a comment", b'{"number": 1} // one', "json", "json"),
    ("NaN", b'{"number": NaN}', "json", "json"),
    ("infinity", b'{"number": -Infinity}', "json", "json"),
    ("a hexadecimal number", b'{"number": 0x1}', "json", "json"),
    ("a leading zero", b'{"number": 01}', "json", "json"),
    ("a number beyond all floats", b'{"number": 1e400}', "json", "json"),
    ("a number of 5,000 digits", b'{"number": ' + b"9" * 5000 + b"}", "json", "json"),
    ("a byte order mark", b'\xef\xbb\xbf{"number": 1}', "json", "json"),
    ("UTF-16", '{"number": 1}'.encode("utf-16"), "json", "json"),
    ("Latin-1", '{"number": "\xfc"}'.encode("latin-1"), "json", "json"),
    ("a name that is not UTF-8", b'{"\xff": 1}', "json", "json"),
    ("an overlong character", b'{"number": "\xc0\x80"}', "json", "json"),
    ("a surrogate in UTF-8", b'{"number": "\xed\xa0\x80"}', "json", "json"),
    ("half a surrogate pair", b'{"number": "\\ud800"}', "json", "json"),
    ("a control character", b'{"number": "\x01"}', "json", "json"),
    ("a zero byte behind it", b'{"number": 1}\0', "json", "json"),
    ("pickled", b"\x80\x04\x95\x0c\0\0\0\0\0\0\0}\x94\x8c\x01n\x94K\x01s.", "json", "json"),
    ("MessagePack", b"\x81\xa6number\x01", "json", "json"),
    ("gzip", gzip.compress(b'{"number": 1}', mtime=0), "json", "json"),
    ("10,000 arrays that are never closed", b"[" * 10_000, "depth", "depth"),
    ("10,000 arrays within each other", b'{"number": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "depth", "depth"),
    ("10,000 objects within each other", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "depth", "depth"),
    ("201 levels", b'{"number":' + b"[" * 200 + b"]" * 200 + b"}", "depth", "depth"),
    ("null", b"null", "object", "arguments"),
    ("true", b"true", "object", "arguments"),
    ("a number", b"1.5", "object", "arguments"),
    ("text", b'"hello"', "object", "arguments"),
    ("an array", b'[{"number": 1}]', "object", "arguments"),
    ("no arguments", b"{}", "arguments", None),
    ("an argument of another type", b'{"number": "one"}', "arguments", "arguments"),
    ("an argument too many", b'{"number": 1, "other": 2}', "arguments", None),
    ("an argument of a wrong name", b'{"Number": 1}', "arguments", None),
    ("null for a number", b'{"number": null}', "arguments", "arguments"),
    ("a fraction for a number", b'{"number": 1.5}', "arguments", "arguments"),
)
_BIG_BODIES: Final[tuple[_Case, ...]] = (
    ("10 MB of an argument", b'{"number": "' + b"a" * BIG + b'"}', "size", "size"),
    ("10 MB of zeros", bytes(BIG), "size", "size"),
    ("10 MB of brackets", b"[" * BIG, "size", "size"),
)
_TYPES: Final[tuple[_Case, ...]] = (
    ("no type", None, "kind", None),
    ("an empty type", "", "kind", None),
    ("a type with a blank", "send receipt", "kind", None),
    ("a type that begins with a digit", "1st", "kind", None),
    ("a type of 129 characters", "k" * 129, "kind", None),
    ("a type of other letters", "отправить", "kind", None),
    ("a type with version 1", "send@1", "kind", None),
    ("a type with a wrong version", "send@x", "kind", None),
    ("a type with a line break", "send\n", "kind", None),
    ("a type with a zero byte", "se\0nd", "kind", None),
)
_IDS: Final[tuple[_Case, ...]] = (
    ("an empty message_id", "", "id", "id"),
    ("a message_id with a blank", "{queue}.a b", "id", "id"),
    ("a message_id of another queue", "another-{queue}.7", "id", None),
    ("a message_id with a backslash", "{queue}.a\\b", "id", "id"),
    ("a message_id of 129 characters", "{queue}." + "a" * 129, "id", "id"),
    ("a message_id of other letters", "{queue}.ü", "id", "id"),
    ("a message_id with a line break", "{queue}.a\n", "id", "id"),
)
_HEADERS: Final[tuple[tuple[str, bytes], ...]] = (
    ("a header whose name is not UTF-8", as_table(a_field("t", b"\1", b"\xff"))),
    ("such a header in a table", as_table(a_field("F", long(a_field("t", b"\1", b"\xff"))))),
    ("10,000 tables within each other", nested(10_000, "F")),
    ("10,000 arrays within each other", nested(10_000, "A")),
    ("100,000 characters of headers", as_table(a_field("S", long(b"a" * 100_000)))),
    ("2,000 headers", as_table(*(a_field("S", long(b"1"), b"name-%d" % number) for number in range(2000)))),
    ("an attempt that is text", as_table(a_field("S", long(b"many"), b"outlast-attempt"))),
    ("an attempt below 0", as_table(a_field("l", b"\xff" * 8, b"outlast-attempt"))),
    ("an attempt that is a table", as_table(a_field("F", long(b""), b"outlast-attempt"))),
)


def malformed_messages(queue: str, kind: str, number: int = 1000, seed: int = 0) -> Iterator[MalformedMessage]:
    """Make so many messages, the same of each seed: each case once, those of 10 MB among them, then random ones."""
    rng = random.Random(seed)
    yield from islice(chain(_cases(queue, kind, rng), _random(queue, kind, rng)), number)


def odd_messages(queue: str, kind: str, seed: int = 0) -> Iterator[MalformedMessage]:
    """Make messages that are not usual, of which a job and an event can be made all the same.

    A header of each type that RabbitMQ carries is among them, named "odd"; and one without a message_id.
    """
    rng = random.Random(seed)
    tables = {f"a header of {name}": as_table(a_field("", value, b"odd")) for name, value in FIELD_TYPES.items()}
    every = (a_field("", value, b"odd-%d" % place) for place, value in enumerate(FIELD_TYPES.values()))
    tables["headers of all types"] = as_table(*every)
    tables["a header twice"] = as_table(a_field("", b"t\0", b"odd"), a_field("", b"t\1", b"odd"))
    tables["no headers"] = as_table()
    tables["an x-death that is text"] = as_table(a_field("S", long(b"expired"), b"x-death"))
    tables["an x-delivery-count of 1,000"] = as_table(a_field("l", struct.pack(">q", 1000), b"x-delivery-count"))
    for name, table in tables.items():
        properties = _with_headers(_properties(queue, kind, rng), table)
        yield MalformedMessage(name=name, properties=properties, body=_RIGHT, job=None, event=None)
    for name, changes in _ODD_PROPERTIES.items():
        properties = encode_properties(_properties(queue, kind, rng, **changes))
        yield MalformedMessage(name=name, properties=properties, body=_RIGHT, job=None, event=None)
    for name, body in _ODD_BODIES.items():
        properties = encode_properties(_properties(queue, kind, rng))
        yield MalformedMessage(name=name, properties=properties, body=body, job=None, event=None)


_ODD_PROPERTIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "no message_id": {"message_id": None},
    "no content_type": {"content_type": None},
    "another content_type": {"content_type": "text/plain; charset=latin-1"},
    "a content_encoding": {"content_encoding": "gzip"},
    "not persistent": {"delivery_mode": 1},
    "the largest priority": {"priority": 255},
    "a timestamp beyond all dates": {"timestamp": 2**64 - 1},
    "a timestamp of 1970": {"timestamp": 0},
    "texts of 255 bytes": {"correlation_id": "c" * 255, "reply_to": "r" * 255, "app_id": "ü" * 127, "cluster_id": ""},
}
_ODD_BODIES: Final[Mapping[str, bytes]] = {
    "blanks around it": b' \r\n\t{ "number" : 1 }\n',
    "a name twice": b'{"number": 1, "number": 2}',
    "escapes": b'{"\\u006eumber": 1}',
    "minus zero": b'{"number": -0}',
    "a number of 100 digits": b'{"number": ' + b"9" * 100 + b"}",
}


def _cases(queue: str, kind: str, rng: random.Random) -> Iterator[MalformedMessage]:
    for name, body, job, event in (*_BODIES, *_BIG_BODIES):
        yield _message(name, _properties(queue, kind, rng), body, job, event)
    for name, text, job, event in _TYPES:
        yield _message(name, _properties(queue, kind, rng, type=text), _RIGHT, job, event)
    for name, text, job, event in _IDS:
        message_id = text.replace("{queue}", queue)
        yield _message(name, _properties(queue, kind, rng, message_id=message_id), _RIGHT, job, event)
    for name, table in _HEADERS:
        properties = _with_headers(_properties(queue, kind, rng), table)
        yield MalformedMessage(name=name, properties=properties, body=_RIGHT, job="headers", event="headers")


def _random(queue: str, kind: str, rng: random.Random) -> Iterator[MalformedMessage]:
    while True:
        properties = _properties(queue, kind, rng)
        whole = b'{"number": %d, "other": [1, "two", {"three": null}]}' % rng.randrange(1000)
        yield _message("an object that is cut", properties, whole[: rng.randrange(1, len(whole))], "json", "json")
        spoilt = bytearray(whole)
        spoilt[rng.randrange(len(spoilt))] = rng.choice((0, 0x7F + rng.randrange(1, 0x80)))
        yield _message("an object with a byte that JSON has not", properties, bytes(spoilt), "json", "json")
        noise = b"\xff" + rng.randbytes(rng.randrange(2000))
        yield _message("noise", properties, noise, "json", "json")
        levels = rng.randrange(200, 5000)
        deep = b'{"number":' + b"[" * levels + b"]" * levels + b"}"
        yield _message(f"{levels + 1} levels", properties, deep, "depth", "depth")
        scalar = rng.choice((b"%d" % rng.randrange(-(10**9), 10**9), b'"%d"' % rng.randrange(1000), b"[%d]" % levels))
        yield _message("no object", properties, scalar, "object", "arguments")
        table = nested(rng.randrange(33, 9000), rng.choice("AF"))
        yield MalformedMessage(
            name="deep headers",
            properties=_with_headers(properties, table),
            body=_RIGHT,
            job="headers",
            event="headers",
        )
        mark = rng.choice(" !\"#$%&'()*,;<>?[]^`{|}~ü\0\t")
        yield _message("a wrong type", replace(properties, type=kind + mark), _RIGHT, "kind", None)
        wrong = f"{properties.message_id}{rng.choice(' !#$%&*?~ü')}"
        yield _message("a wrong message_id", replace(properties, message_id=wrong), _RIGHT, "id", "id")
        field = rng.choice((1 << 15, 1 << 10, 1 << 9, 1 << 7, 1 << 5, 1 << 3))
        octets = field.to_bytes(2, "big") + short(b"\xff" + rng.randbytes(rng.randrange(9)))
        yield MalformedMessage(
            name="a property that is not UTF-8", properties=octets, body=_RIGHT, job="properties", event="properties"
        )


def _message(
    name: str, properties: MessageProperties, body: bytes, job: Why | None, event: Why | None
) -> MalformedMessage:
    return MalformedMessage(name=name, properties=encode_properties(properties), body=body, job=job, event=event)


def _properties(queue: str, kind: str, rng: random.Random, **changes: Any) -> MessageProperties:
    """Return the properties of a job that is right, with changes."""
    given: dict[str, Any] = {
        "content_type": "application/json",
        "delivery_mode": 2,
        "message_id": f"{queue}.{rng.getrandbits(128):032x}",
        "type": kind,
    }
    return MessageProperties(**given | changes)


def _with_headers(properties: MessageProperties, table: bytes) -> bytes:
    """Return the properties as bytes, with these bytes in the place of their headers."""
    mark = {"mark": f"{len(table)} bytes"}
    encoded = encode_properties(replace(properties, headers=mark))
    assert encoded.count(encode_table(mark)) == 1
    return encoded.replace(encode_table(mark), table)
