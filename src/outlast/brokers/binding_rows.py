"""Exchanges and bindings as stored rows, each JSON. One that cannot be read is left out, with a line in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from logging import Logger
from typing import Any, Final, TypeVar

import msgspec

from outlast.core.exchanges.changes import row_of
from outlast.core.exchanges.values import Binding, Bindings, Exchange
from outlast.core.unreadable import READ_ERRORS, ToldOnce

__all__ = ["encoded", "read_rows"]

T = TypeVar("T")

_exchange: Final = msgspec.json.Decoder(Exchange)
_binding: Final = msgspec.json.Decoder(Binding)
_encode: Final = msgspec.json.Encoder().encode
_told: Final = ToldOnce()
"""By name; the rows are read again after each change."""


def encoded(row: Exchange | Binding) -> bytes:
    """Return the stored form of a row."""
    return _encode(row)


def read_rows(
    version: int, exchanges: Iterable[tuple[Any, Any]], bindings: Iterable[tuple[Any, Any]], log: Logger
) -> Bindings:
    """Return the bindings of a store. exchanges, bindings: (name, body) of the rows; names as text."""
    found = _read(exchanges, _exchange.decode, lambda each: each.name, log)
    bound = _read(bindings, _binding.decode, row_of, log)
    return Bindings(
        version,
        tuple(found[name] for name in sorted(found)),
        tuple(bound[row] for row in sorted(bound) if bound[row].exchange in found),
    )


def _read(
    rows: Iterable[tuple[Any, Any]], decode: Callable[[Any], T], name_of: Callable[[T], str], log: Logger
) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, body in rows:
        try:
            row = decode(body)
            if name_of(row) != name:
                raise ValueError("it is stored under another name")
            found[name] = row
        except READ_ERRORS as error:
            if _told.is_news(name, body):
                log.error("exchange or binding %s cannot be read; start its worker to declare it: %s", name, error)  # noqa: TRY400
    return found
