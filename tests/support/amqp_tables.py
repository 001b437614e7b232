"""Field tables of AMQP for tests: any that our codec can write, and bytes of any form."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from outlast.clients.amqp.table import AmqpDecimal, AmqpTimestamp, FieldValue

__all__ = ["TABLES", "a_field", "as_table", "long", "nested", "short"]

_SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.builds(AmqpTimestamp, st.integers(0, 2**64 - 1))
    | st.builds(AmqpDecimal, st.integers(0, 255), st.integers(0, 2**32 - 1))
)
_NAMES = st.text(max_size=60)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_NAMES, inner, max_size=5), max_leaves=20
)
TABLES: st.SearchStrategy[dict[str, FieldValue]] = st.dictionaries(_NAMES, _VALUES, max_size=6)
"""All that a table may hold."""


def as_table(*fields: bytes) -> bytes:
    """Return a table of these fields, whatever they are."""
    return long(b"".join(fields))


def a_field(tag: str, octets: bytes, name: bytes = b"k") -> bytes:
    """Return a field: its name, the tag of its type, and the octets of its value."""
    return short(name) + tag.encode() + octets


def long(octets: bytes) -> bytes:
    """Return octets after their length, of four bytes."""
    return struct.pack(">I", len(octets)) + octets


def short(octets: bytes) -> bytes:
    """Return octets after their length, of one byte."""
    return bytes((len(octets),)) + octets


def nested(levels: int, tag: str) -> bytes:
    """Return a table that holds tables (F) or arrays (A) within each other."""
    inner = b""
    for _ in range(levels - 1):
        inner = (b"\1k" if tag == "F" else b"") + tag.encode() + long(inner)
    return as_table(a_field(tag, long(inner)))
