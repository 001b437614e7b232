"""An entry as bytes on a server, without its times: its id, its head and the packed value."""

from __future__ import annotations

from typing import Final

import msgspec

from outlast.toolkit.cache.store import CacheDraft, CacheEntry, Versions

__all__ = ["ID_LENGTH", "packed_entry", "unpacked_entry"]

ID_LENGTH: Final = 16
"""Bytes of an id, which begins an entry."""


class _Head(msgspec.Struct, array_like=True):
    """What an entry bears beside its times, its id and its body."""

    cost: float
    tags: Versions


_head: Final = msgspec.msgpack.Decoder(_Head)


def packed_entry(draft: CacheDraft, tags: Versions) -> bytes:
    """Return the bytes of an entry that bears these versions."""
    head = msgspec.msgpack.encode(_Head(draft.cost, tags))
    return b"".join((draft.id.encode(), len(head).to_bytes(4, "big"), head, draft.body))


def unpacked_entry(packed: bytes, left: float) -> CacheEntry:
    """Return the entry that is fresh for `left` seconds; raise ValueError, MsgspecError for damaged bytes."""
    begin = ID_LENGTH + 4
    end = begin + int.from_bytes(packed[ID_LENGTH:begin], "big")
    head = _head.decode(packed[begin:end])
    return CacheEntry(packed[:ID_LENGTH].decode(), packed[end:], left, head.cost, head.tags)
