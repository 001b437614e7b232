"""Copies of values in this process, for as long as the server tells of each change (client tracking)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from outlast.toolkit.cache.store import CacheEntry
from outlast.toolkit.cache.values import ValuePacking

__all__ = ["NO_COPY", "NearCopies"]

MOST: Final = 4096
"""Copies; the oldest leaves for one more."""
LARGEST: Final = 16 * 1024
"""Bytes of a value up to which it is copied."""
NO_COPY: Final = object()
_UNCHANGEABLE: Final = (str, int, float, bool, type(None))


class _Copy:
    """A value, or what it is unpacked from for each caller, as callers may change it."""

    __slots__ = ("json", "read", "tags", "until", "value")

    def __init__(self, entry: CacheEntry, packing: ValuePacking, value: Any, until: float) -> None:
        self.tags = tuple(entry.tags)
        self.until = until
        self.read = packing.read
        self.value = value
        self.json = None if isinstance(value, _UNCHANGEABLE) else packing.json(entry.body)


class NearCopies:
    """The copies of all event loops of the process. clock: of their ends, in seconds.

    They are used only while `on` is true: a connection to the server stands, on which it tells of changes.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.on = False
        self.possible = True
        """False for a store that does not tell of changes."""
        self._clock = clock
        self._copies: dict[str, _Copy] = {}
        self._tagged: dict[str, set[str]] = {}
        self._reads: dict[str, object] = {}

    def find(self, key: str) -> Any:
        """Return the value of a copy, NO_COPY without one."""
        copy = self._copies.get(key)
        if copy is None or copy.until <= self._clock():
            return NO_COPY
        return copy.value if copy.json is None else copy.read(copy.json)

    def begin(self, key: str) -> object:
        """Begin to read an entry from the store; the result is for `keep`."""
        read = self._reads[key] = object()
        return read

    def keep(self, read: object, key: str, entry: CacheEntry, packing: ValuePacking, longest: float) -> None:
        """Keep a copy, unless the server has told of a change since `begin`: that may be of what was read."""
        if self._reads.get(key) is not read:
            return
        del self._reads[key]
        if not self.on or entry.left <= 0 or len(entry.body) > LARGEST:
            return
        while len(self._copies) >= MOST:
            self._drop(next(iter(self._copies)))
        until = self._clock() + min(entry.left, longest)
        self._drop(key)
        self._copies[key] = _Copy(entry, packing, packing.unpacked(entry.body), until)
        for tag in entry.tags:
            self._tagged.setdefault(tag, set()).add(key)

    def end(self, read: object, key: str) -> None:
        """End a read that found nothing to keep."""
        if self._reads.get(key) is read:
            del self._reads[key]

    def changed(self, keys: Iterable[str]) -> None:
        """Drop the copies of these keys."""
        for key in keys:
            self._reads.pop(key, None)
            self._drop(key)

    def tags_changed(self, tags: Iterable[str]) -> None:
        """Drop the copies with one of these tags; what is being read may have one."""
        self._reads.clear()
        for tag in tags:
            for key in self._tagged.pop(tag, ()):
                self._drop(key)

    def switch(self, *, on: bool) -> None:
        """Use copies from now on, or drop all: changes may have been missed."""
        self.on = on
        for held in (self._reads, self._copies, self._tagged):
            held.clear()

    def _drop(self, key: str) -> None:
        copy = self._copies.pop(key, None)
        if copy is None:
            return
        for tag in copy.tags:
            keys = self._tagged.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._tagged[tag]
