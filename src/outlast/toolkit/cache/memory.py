"""The cache in the memory of one process, with the least recently used entries removed over a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from secrets import token_hex
from typing import Final

from outlast.aio.notifier import Notifier
from outlast.toolkit.cache.store import CHANGE, Begun, CacheDraft, CacheEntry, CacheStore, Seen, Versions
from outlast.toolkit.memory import ToolkitMemory

__all__ = ["CacheMemory"]

OVERHEAD: Final = 500
"""Bytes that an entry takes beside its key and body, roughly."""
SWEEP: Final = 1024
"""Leases or tags from which on those that have expired are looked for."""


class _Kept:
    """An entry and the times of the clock until which it is fresh, and kept."""

    __slots__ = ("draft", "fresh_until", "kept_until", "size")

    def __init__(self, key: str, draft: CacheDraft, now: float) -> None:
        self.draft = draft
        self.fresh_until = now + draft.fresh
        self.kept_until = now + draft.kept
        self.size = len(key) + len(draft.body) + OVERHEAD


class _CacheSection:
    """The data of the cache: entries from the least to the most recently used."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, _Kept] = OrderedDict()
        self.bytes = 0
        self.leases: dict[str, tuple[str, float]] = {}
        self.tags: dict[str, tuple[str, float]] = {}
        self.sweep_at = SWEEP


class CacheMemory(CacheStore):
    """See `CacheStore`. most_bytes: of all entries."""

    def __init__(self, store: ToolkitMemory, most_bytes: int) -> None:
        self._store = store
        self._most = most_bytes
        self._now = store.clock.monotonic
        self._data = store.section("cache", _CacheSection)

    def ended(self) -> Notifier:
        """Return the notifier of computations that have ended."""
        return self._store.listen(CHANGE)

    async def look(self, key: str) -> Seen:
        """Return what is there."""
        with self._store.lock:
            return self._seen(key)

    async def versions(self, tags: Sequence[str]) -> Versions:
        """Return the present versions of the tags that have one."""
        with self._store.lock:
            return self._versions(tags)

    async def begin(
        self, key: str, lease_id: str, tags: Sequence[str], *, lease: float, kept: float, past: str
    ) -> Begun:
        """Take the lease of a key, unless it is taken, or another fresh entry than `past` is there."""
        with self._store.lock:
            versions = self._made(tags, kept)
            seen = self._seen(key)
            newer = seen.entry is not None and seen.past != past and seen.entry.left > 0
            if newer or seen.lease:
                return Begun(False, seen, versions)
            self._data.leases[key] = (lease_id, self._now() + lease)
            self._sweep()
            return Begun(True, seen, versions)

    async def renew(self, key: str, lease_id: str, lease: float) -> bool:
        """Let the lease end in `lease` seconds; return whether it is still held."""
        with self._store.lock:
            held = self._lease(key) == lease_id
            if held:
                self._data.leases[key] = (lease_id, self._now() + lease)
            return held

    async def finish(self, key: str, draft: CacheDraft) -> bool:
        """Keep the value and end the lease `draft.id`, if that is still held."""
        with self._store.lock:
            held = self._lease(key) == draft.id
            if held:
                del self._data.leases[key]
                self._keep(key, draft)
        if held:
            self.ended().notify()
        return held

    async def abandon(self, key: str, lease_id: str) -> None:
        """End the lease, if it is still held."""
        with self._store.lock:
            if self._lease(key) != lease_id:
                return
            del self._data.leases[key]
        self.ended().notify()

    async def put(self, key: str, draft: CacheDraft, tags: Sequence[str]) -> None:
        """Keep a value with the present versions of `tags`, and void the lease of the key."""
        with self._store.lock:
            self._data.leases.pop(key, None)
            body = CacheDraft(draft.id, draft.body, draft.fresh, draft.kept, draft.cost, self._made(tags, draft.kept))
            self._keep(key, body)
        self.ended().notify()

    async def delete(self, key: str) -> bool:
        """Remove the entry and void the lease of the key."""
        with self._store.lock:
            there = self._seen(key).entry is not None
            self._drop(key)
            voided = self._data.leases.pop(key, None)
        if voided is not None:
            self.ended().notify()
        return there

    async def invalidate(self, tags: Sequence[str]) -> None:
        """Make all entries with one of these tags dead."""
        with self._store.lock:
            for tag in tags:
                self._data.tags.pop(tag, None)

    # Under the lock

    def _lease(self, key: str) -> str:
        lease_id, until = self._data.leases.get(key, ("", 0.0))
        return lease_id if until > self._now() else ""

    def _seen(self, key: str) -> Seen:
        now, kept = self._now(), self._data.entries.get(key)
        lease = self._lease(key)
        if kept is None or kept.kept_until <= now:
            self._drop(key)
            return Seen(None, "", lease)
        self._data.entries.move_to_end(key)
        draft = kept.draft
        if draft.tags and self._versions(draft.tags) != draft.tags:
            return Seen(None, draft.id, lease)
        return Seen(CacheEntry(draft.id, draft.body, kept.fresh_until - now, draft.cost, draft.tags), draft.id, lease)

    def _versions(self, tags: Sequence[str] | Versions) -> Versions:
        now = self._now()
        return {tag: found[0] for tag in tags if (found := self._data.tags.get(tag)) and found[1] > now}

    def _made(self, tags: Sequence[str], kept: float) -> Versions:
        if not tags:
            return {}
        now, there = self._now(), self._versions(tags)
        for tag in tags:
            version = there.setdefault(tag, token_hex(8))
            until = max(now + 2 * kept, self._data.tags.get(tag, ("", 0.0))[1])
            self._data.tags[tag] = (version, until)
        return there

    def _keep(self, key: str, draft: CacheDraft) -> None:
        self._drop(key)
        kept = self._data.entries[key] = _Kept(key, draft, self._now())
        self._data.bytes += kept.size
        while self._data.bytes > self._most and len(self._data.entries) > 1:
            self._drop(next(iter(self._data.entries)))

    def _drop(self, key: str) -> None:
        kept = self._data.entries.pop(key, None)
        if kept is not None:
            self._data.bytes -= kept.size

    def _sweep(self) -> None:
        """Remove what has expired, now and then: each sweep waits until twice of what remained is there."""
        data = self._data
        if len(data.leases) + len(data.tags) < data.sweep_at:
            return
        now = self._now()
        data.leases = {key: each for key, each in data.leases.items() if each[1] > now}
        data.tags = {tag: each for tag, each in data.tags.items() if each[1] > now}
        data.sweep_at = max(SWEEP, 2 * (len(data.leases) + len(data.tags)))
