"""Hashes the arguments of a call, so that equal arguments have equal hashes in every process."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, Final

__all__ = ["fingerprint"]

_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_UTC: Final = _EPOCH.replace(tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)


def fingerprint(
    values: Mapping[str, Any], defaults: Mapping[str, Any], to_json: Callable[[], Mapping[str, Any]]
) -> str:
    """Return a hash of validated arguments by name: equal for calls whose arguments are equal by `==`.

    So 1, 1.0, True and Decimal("1.00") are one value (where the annotation keeps them apart), and neither the order of
    a dict or a set counts, nor the zone of a moment. Models and dataclasses are compared by their fields; NaN equals
    NaN. A default counts as left out. to_json: the decoded JSON of `values`, for an argument of an unknown type.
    """
    parts = []
    for name in sorted(values):
        try:
            form = _canonical(values[name])
        except _UnknownType:
            form = _canonical(to_json()[name])
        if name not in defaults or form != _default(defaults[name]):
            parts.append(_part(b"a", name.encode(), form))
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


class _UnknownType(Exception):
    """A value of a type whose equality is not known here."""


def _default(value: Any) -> bytes | None:
    try:
        return _canonical(value)
    except _UnknownType:
        return None


def _part(tag: bytes, *parts: bytes) -> bytes:
    """Return parts with their lengths, so that no two lists of parts have one form."""
    return b"%b%d:%b" % (tag, len(parts), b"".join(b"%d:%b" % (len(each), each) for each in parts))


def _canonical(value: Any) -> bytes:
    """Return bytes that are equal for equal values; raise _UnknownType."""
    if value is None:
        return b"n"
    if isinstance(value, Enum):
        return _canonical(value.value)
    if isinstance(value, str):
        return _part(b"s", value.encode(errors="surrogatepass"))
    if isinstance(value, int | float | Decimal | Fraction):
        return _number(value)
    if isinstance(value, complex):
        return _number(value.real) if not value.imag else _part(b"c", _number(value.real), _number(value.imag))
    if isinstance(value, bytes | bytearray | memoryview):
        return _part(b"b", bytes(value))
    if isinstance(value, OrderedDict):  # two of these are equal only in the same order
        return _part(b"o", *(_canonical(each) for item in value.items() for each in item))
    if isinstance(value, Mapping):
        return _fields(value)
    if isinstance(value, Set):
        return _part(b"e", *sorted(_canonical(each) for each in value))
    if isinstance(value, list | tuple):
        return _part(b"l", *(_canonical(each) for each in value))
    if isinstance(value, date | time | timedelta):
        return _moment(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields({each.name: getattr(value, each.name) for each in dataclasses.fields(value) if each.compare})
    return _other(value)


def _fields(items: Mapping[Any, Any]) -> bytes:
    return _part(b"m", *sorted(_part(b"i", _canonical(key), _canonical(value)) for key, value in items.items()))


def _number(value: float | Decimal | Fraction) -> bytes:
    """Return the exact value: sign, digits without zeros at their end, exponent of ten."""
    if isinstance(value, Fraction):
        if value.denominator != 1:
            # Of these only the ones with a power of two below the line can equal a float.
            if value == (near := _nearest(value)):
                return _number(near)
            return _part(b"q", _number(value.numerator), _number(value.denominator))
        value = value.numerator
    number = value if isinstance(value, Decimal) else Decimal(value)  # exact, from int and float
    if not number.is_finite():
        return _part(b"f", b"nan" if number.is_nan() else str(number).encode())
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits))
    short = text.rstrip("0")
    if not short:
        return b"0"
    assert isinstance(exponent, int)
    return _part(b"d", b"-" if sign else b"", short.lstrip("0").encode(), b"%d" % (exponent + len(text) - len(short)))


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return 0.0


def _moment(value: date | time | timedelta) -> bytes:
    if isinstance(value, timedelta):
        return _part(b"t", b"%d" % (value // _TICK))
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            return _part(b"w", b"%d" % ((value.replace(tzinfo=None) - _EPOCH) // _TICK))
        return _part(b"u", b"%d" % ((value - _EPOCH_UTC) // _TICK))
    if isinstance(value, time):
        offset = value.utcoffset()
        since = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
        if offset is None:
            return _part(b"h", b"%d" % (since // _TICK))
        return _part(b"z", b"%d" % ((since - offset) // _TICK))
    return _part(b"y", value.isoformat().encode())


def _other(value: Any) -> bytes:
    """Return the form of a pydantic model (its fields, and more where it allows more)."""
    fields = getattr(type(value), "model_fields", None)
    if isinstance(fields, dict) and hasattr(value, "__dict__"):
        return _fields({**vars(value), **(getattr(value, "__pydantic_extra__", None) or {})})
    raise _UnknownType
