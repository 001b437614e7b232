"""Converts a queue's limits to the JSON texts in the file, which hold what differs from the defaults, and back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import structs

from outlast.core.errors import OutlastError
from outlast.core.limits import Rate
from outlast.core.topology import ADJUSTABLE, Queue

__all__ = ["changes_of", "changes_text", "declaration_of", "needs_in", "rules", "text_of"]

_DEFAULT: Final = Queue(name="default")


@lru_cache(maxsize=1024)
def rules(name: str, text: str | None) -> Queue:
    """Return the queue that a text of `text_of` describes; raise ValueError if it cannot be read.

    Cached, because every transaction calls it.
    """
    try:
        if text is None:
            return Queue(name=name)
        return msgspec.convert({"name": name, **msgspec.json.decode(text)}, Queue)
    except (msgspec.MsgspecError, OutlastError, TypeError, RecursionError) as error:
        raise ValueError(f"the limits of queue {name!r} cannot be read: {error}") from error


def text_of(queue: Queue) -> str | None:
    """Return the adjustable settings that differ from the defaults; None when none does."""
    kept = {name: getattr(queue, name) for name in ADJUSTABLE if getattr(queue, name) != getattr(_DEFAULT, name)}
    if "per_key" in kept:
        kept["per_key"] = {name: value for name, value in structs.asdict(queue.per_key).items() if value is not None}
    return msgspec.json.encode(kept, order="sorted").decode() if kept else None


def declaration_of(queue: Queue) -> str | None:
    """Return the text of a queue as it is declared: that of `text_of`, and its needs, which no limit depends on."""
    text = text_of(queue)
    if not queue.needs:
        return text
    kept = {} if text is None else msgspec.json.decode(text)
    return msgspec.json.encode(kept | {"needs": queue.needs}, order="sorted").decode()


def needs_in(text: str | None) -> tuple[str, ...]:
    """Return the needs in a text of `declaration_of`; none if it cannot be read."""
    try:
        return () if text is None else rules("q", text).needs
    except ValueError:
        return ()


def changes_of(text: str | None) -> dict[str, Any]:
    """Return an operator's changes, by the names of core.topology.adjusted."""
    kept = {} if text is None else msgspec.json.decode(text)
    return {name: Rate(**value) if isinstance(value, dict) else value for name, value in kept.items()}


def changes_text(queue: Queue, changes: Mapping[str, Any]) -> str | None:
    """Return the text of changes that `queue` contains, with its values."""
    kept: dict[str, Any] = {}
    for name in changes:
        group, _, rest = name.partition(".")
        if group == "per_key":
            kept[name] = getattr(queue.per_key, rest)
        elif group == "weights":
            kept[name] = queue.weights.get(rest)
        else:
            kept[name] = getattr(queue, name)
    return msgspec.json.encode(kept).decode() if kept else None
