"""A queue's limits as the file keeps them: JSON texts of what differs from the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import structs

from outlast.core.limits import Limit, Rate
from outlast.core.topology import ADJUSTABLE, Queue, adjusted

__all__ = ["changes_of", "changes_text", "effective", "rules", "text_of"]

_DEFAULT: Final = Queue(name="default")
_BARE: Final = Limit()


@lru_cache(maxsize=1024)
def rules(name: str, text: str | None) -> Queue:
    """Return the queue that a text of `text_of` describes. Kept, as every transaction asks."""
    if text is None:
        return Queue(name=name)
    return msgspec.convert({"name": name, **msgspec.json.decode(text)}, Queue)


def text_of(queue: Queue) -> str | None:
    """Return what may be adjusted and is not as by default; None when all is."""
    given: dict[str, Any] = {}
    for name in ADJUSTABLE:
        value = getattr(queue, name)
        if name == "per_key":
            value = {
                field: getattr(value, field) for field in Limit.__struct_fields__ if getattr(value, field) is not None
            }
            if value:
                given[name] = value
        elif value != getattr(_DEFAULT, name):
            given[name] = value
    return msgspec.json.encode(given, order="sorted").decode() if given else None


def changes_of(text: str | None) -> dict[str, Any]:
    """Return an operator's changes, by the names of core.topology.adjusted."""
    kept = {} if text is None else msgspec.json.decode(text)
    return {name: Rate(**value) if isinstance(value, dict) else value for name, value in kept.items()}


def changes_text(queue: Queue, changes: Mapping[str, Any]) -> str | None:
    """Return the text of changes that `queue` has accepted; it is asked for their values."""
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


def effective(declared: Queue, changes: Mapping[str, Any]) -> Queue:
    """Return what holds; a queue that nobody changes is as declared."""
    return adjusted(declared, changes) if changes else structs.replace(declared)
