"""The analytics of the demo: a file with one line for each run that recorded a sale, in which an event counts once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

__all__ = ["Sale", "record_sale", "sales_of"]


class Sale(msgspec.Struct, frozen=True, kw_only=True):
    """A sale. event: the id of the event that told of it. at: when it was recorded, wall time in seconds."""

    event: str
    order: str
    cents: int
    at: float


def record_sale(path: Path, *, event: str, order: str, cents: int) -> None:
    """Append a line to the file, which several processes write to."""
    sale = Sale(event=event, order=order, cents=cents, at=time.time())
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # One write per line: with O_APPEND the lines of several processes do not mix.
        os.write(file, msgspec.json.encode(sale) + b"\n")
    finally:
        os.close(file)


def sales_of(lines: Iterable[Sale]) -> list[Sale]:
    """Return the first line of each event: a job may run twice."""
    found: dict[str, Sale] = {}
    for sale in lines:
        found.setdefault(sale.event, sale)
    return list(found.values())
