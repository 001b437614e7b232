"""Encodes a message as the record that the server stores, and decodes it (layout: lua/clock.lua)."""

from __future__ import annotations

from struct import Struct as Layout
from typing import Any, Final

import msgspec
from msgspec import Raw

from outlast.core.message import Message, State
from outlast.core.policy import Priority
from outlast.core.unique import Unique

__all__ = ["LETTERS", "PRIORITIES", "PRIORITY_NUMBER", "pack", "unpack"]

LETTERS: Final[dict[State, str]] = {
    "ready": "Q",
    "scheduled": "S",
    "parked": "K",
    "running": "R",
    "waiting": "W",
    "succeeded": "s",
    "dead": "d",
    "cancelled": "c",
    "expired": "e",
}

PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal", "low")
PRIORITY_NUMBER: Final = {name: number for number, name in enumerate(PRIORITIES)}

KEYED: Final = 1
UNIQUE: Final = 2
EXPIRES: Final = 4

_written: Final = Layout(">ddBBBI")
_expiry: Final = Layout(">d")
_read: Final = Layout(">10xddBBBI")
_encode: Final = msgspec.msgpack.Encoder().encode
_ext: Final = msgspec.msgpack.Decoder(
    tuple[
        str | None,  # key
        str | None,  # unique
        bool,
        float | None,
        bool,
        float | None,
        dict[str, str] | None,  # headers
        tuple[str, ...] | None,  # redacted
    ]
).decode
_kinds: dict[bytes, str] = {}
"""Kinds by their bytes, so that a kind is decoded once."""


def pack(message: Message) -> bytes:
    """Return the record of a message without its first 10 bytes, which the server adds."""
    kind = message.kind.encode()
    flags = 0
    ext = expires = b""
    key, unique = message.key, message.unique
    if key is not None or unique is not None or message.headers is not None or message.redacted:
        fields: list[Any] = [key, None, False, None, False, None, message.headers, message.redacted or None]
        flags = KEYED if key is not None else 0
        if unique is not None:
            flags |= UNIQUE
            seconds = unique.seconds
            until = None if seconds is None else message.enqueued_at + seconds
            fields[1:6] = (unique.key, unique.until == "start", until, unique.replace, seconds)
        ext = _encode(fields)
    if message.expires_at is not None:
        flags |= EXPIRES
        expires = _expiry.pack(message.expires_at)
    head = _written.pack(
        message.run_at, message.enqueued_at, PRIORITY_NUMBER[message.priority], flags, len(kind), len(ext)
    )
    return b"%b%b%b%b%b" % (head, expires, kind, ext, message.args)


def unpack(queue: str, id_: str, record: bytes) -> Message:
    """Return the message of a complete record; raise one of READ_ERRORS for one that cannot be read."""
    run_at, enqueued_at, priority, flags, kind_length, ext_length = _read.unpack_from(record)
    at = 33
    expires_at = None
    if flags & EXPIRES:
        (expires_at,) = _expiry.unpack_from(record, at)
        at += 8
    end = at + kind_length
    raw = record[at:end]
    kind = _kinds.get(raw)
    if kind is None:
        kind = _kinds.setdefault(raw, raw.decode()) if len(_kinds) < 10_000 else raw.decode()
    if not ext_length:
        return Message(
            id=id_,
            queue=queue,
            kind=kind,
            args=Raw(record[end:]),
            enqueued_at=enqueued_at,
            run_at=run_at,
            priority=PRIORITIES[priority],
            expires_at=expires_at,
        )
    key, unique, at_start, _, replace, seconds, headers, redacted = _ext(record[end : end + ext_length])
    return Message(
        id=id_,
        queue=queue,
        kind=kind,
        args=Raw(record[end + ext_length :]),
        enqueued_at=enqueued_at,
        run_at=run_at,
        priority=PRIORITIES[priority],
        key=key,
        unique=None if unique is None else Unique(unique, "start" if at_start else "finish", seconds, replace),
        expires_at=expires_at,
        headers=headers,
        redacted=tuple(redacted or ()),
    )
