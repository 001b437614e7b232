"""The cache on Memcached: an entry and the lease of its key are one item, and each change names the state that it saw.

The number that Memcached gives each state of an item ("cas") makes a change of it one step. A server that has been
restarted gives the same numbers again: so a change is sent on the connection on which its state was read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from outlast.aio.notifier import Notifier
from outlast.clients.memcached.connection import MemcachedConnection, MemcachedReply, ValueRefused
from outlast.clients.memcached.requests import ANY_STATE, add_request, delete_request, get_request, set_request
from outlast.core.errors import InvalidArguments, StoreError
from outlast.toolkit.cache.entries import ID_LENGTH, packed_entry, unpacked_entry
from outlast.toolkit.cache.store import CHANGE, Begun, CacheDraft, CacheStore, Seen, Versions
from outlast.toolkit.caches_only import refuse_tags
from outlast.toolkit.memcached import ToolkitMemcached

__all__ = ["CacheMemcached", "item_life"]

_TIMES: Final = struct.Struct(">ddd16s")
"""Until when the entry is fresh, and kept, until when the lease lasts (seconds since 1970), and the id of the lease."""
_NO_LEASE: Final = bytes(ID_LENGTH)
RELATIVE: Final = 30 * 24 * 3600
"""Seconds from which on Memcached takes a time for one since 1970."""
LATEST: Final = 2**31 - 1
"""The latest such time."""
TRIES: Final = 20
"""How often a change is tried that other changes of the item come before."""


def item_life(seconds: float, now: float) -> int:
    """Return the life of an item as Memcached takes it. now: seconds since 1970.

    Memcached counts whole seconds, and its first may be short. So the item is there a little longer than it is used,
    two seconds at most: whether it is used is decided by the times in it.
    """
    whole = math.ceil(seconds) + 1
    return whole if whole <= RELATIVE else min(LATEST, math.ceil(now) + whole)


class _Item(msgspec.Struct):
    """What the server has of a key. packed: the entry without its times, b"" without one."""

    fresh: float = 0.0
    kept: float = 0.0
    leased: float = 0.0
    lease: bytes = _NO_LEASE
    packed: bytes = b""

    @classmethod
    def of(cls, value: bytes) -> _Item:
        """Return the item of its bytes; an empty one when they are damaged."""
        if len(value) < _TIMES.size:
            return cls()
        fresh, kept, leased, lease = _TIMES.unpack_from(value)
        return cls(fresh, kept, leased, lease, value[_TIMES.size :])

    def lease_at(self, now: float) -> str:
        """Return the id of the computation under way, "" without one."""
        return self.lease.decode("ascii", "replace") if self.lease != _NO_LEASE and self.leased > now else ""

    def seen(self, now: float) -> Seen:
        """Return what a look finds."""
        lease = self.lease_at(now)
        if not self.packed or self.kept <= now:
            return Seen(None, "", lease)
        try:
            entry = unpacked_entry(self.packed, self.fresh - now)
        except (ValueError, msgspec.MsgspecError):  # damaged: its lease may be one that never ends
            return Seen(None, "", "")
        return Seen(entry, entry.id, lease)

    def request(self, key: bytes, now: float, *, cas: int | None) -> bytes:
        """Return the request that stores it. cas: of the state that it replaces, None where none is, ANY_STATE."""
        value = _TIMES.pack(self.fresh, self.kept, self.leased, self.lease) + self.packed
        life = item_life(max(self.kept if self.packed else 0.0, self.leased) - now, now)
        return add_request(key, value, life) if cas is None else set_request(key, value, life, cas)


class CacheMemcached(CacheStore):
    """See `CacheStore`. The server bounds its memory (`-m`); tags are refused with ConfigurationError."""

    def __init__(self, store: ToolkitMemcached) -> None:
        self._store = store
        self._now = store.clock.time

    def ended(self) -> Notifier:
        """Return the notifier of computations that have ended in this process; others are found by looking again."""
        return self._store.listen(CHANGE)

    async def look(self, key: str) -> Seen:
        """Return what is there."""
        name = self._store.key("cache", key)
        item, _ = await self._store.call(name, lambda connection: _read(connection, name))
        return item.seen(self._now())

    async def versions(self, tags: Sequence[str]) -> Versions:
        """Return none: there are no tags."""
        return {}

    async def begin(
        self, key: str, lease_id: str, tags: Sequence[str], *, lease: float, kept: float, past: str
    ) -> Begun:
        """Take the lease of a key, unless it is taken, or another fresh entry than `past` is there."""
        self._refuse(tags)
        name = self._store.key("cache", key)

        async def begin(connection: MemcachedConnection) -> Begun:
            seen = Seen(None, "", "")
            for _ in range(TRIES):
                item, cas = await _read(connection, name)
                now = self._now()
                seen = item.seen(now)
                newer = seen.entry is not None and seen.past != past and seen.entry.left > 0
                if newer or seen.lease:
                    return Begun(False, seen, {})
                if seen.entry is None:
                    item = _Item()
                item.lease, item.leased = lease_id.encode(), now + lease
                if await _done(connection, item.request(name, now, cas=cas)):
                    return Begun(True, seen, {})
            return Begun(False, seen, {})

        return await self._store.call(name, begin)

    async def renew(self, key: str, lease_id: str, lease: float) -> bool:
        """Let the lease end in `lease` seconds; return whether it is still held."""

        def renewed(item: _Item, now: float) -> None:
            item.leased = now + lease

        return await self._change(key, lease_id, renewed)

    async def finish(self, key: str, draft: CacheDraft) -> bool:
        """Keep the value and end the lease `draft.id`, if that is still held."""

        def finished(item: _Item, now: float) -> None:
            item.lease, item.leased = _NO_LEASE, 0.0
            item.fresh, item.kept, item.packed = now + draft.fresh, now + draft.kept, packed_entry(draft, {})

        try:
            return await self._change(key, draft.id, finished)
        except ValueRefused:
            await self.abandon(key, draft.id)
            raise
        finally:
            self.ended().notify()

    async def abandon(self, key: str, lease_id: str) -> None:
        """End the lease, if it is still held."""

        def abandoned(item: _Item, now: float) -> None:
            item.lease, item.leased = _NO_LEASE, 0.0

        await self._change(key, lease_id, abandoned)
        self.ended().notify()

    async def put(self, key: str, draft: CacheDraft, tags: Sequence[str]) -> None:
        """Keep a value, and void the lease of the key. Raise InvalidArguments for one over the server's item size."""
        self._refuse(tags)
        name, now = self._store.key("cache", key), self._now()
        item = _Item(now + draft.fresh, now + draft.kept, packed=packed_entry(draft, {}))
        request = item.request(name, now, cas=ANY_STATE)
        try:
            await self._store.call(name, lambda connection: connection.ask(request))
        except ValueRefused as error:
            raise InvalidArguments(
                f"cache.set: the value is too large: keep less, or start Memcached with larger items (-I) ({error})"
            ) from error
        finally:
            self.ended().notify()

    async def delete(self, key: str) -> bool:
        """Remove the entry and void the lease of the key."""
        name = self._store.key("cache", key)
        requests = get_request(name), delete_request(name)
        found, _ = await self._store.call(name, lambda connection: connection.ask_all(*requests))
        self.ended().notify()
        return _item_in(found)[0].seen(self._now()).entry is not None

    async def invalidate(self, tags: Sequence[str]) -> None:
        """Raise ConfigurationError: there are no tags."""
        self._refuse(tags)

    def _refuse(self, tags: Sequence[str]) -> None:
        if tags:
            refuse_tags(self._store.shown)

    async def _change(self, key: str, lease_id: str, change: Callable[[_Item, float], None]) -> bool:
        """Change the item while this lease of it is held; return whether that was done."""
        name = self._store.key("cache", key)

        async def work(connection: MemcachedConnection) -> bool:
            for _ in range(TRIES):
                item, cas = await _read(connection, name)
                now = self._now()
                if cas is None or item.lease_at(now) != lease_id:
                    return False
                change(item, now)
                is_empty = not item.packed and item.lease == _NO_LEASE
                request = delete_request(name, cas) if is_empty else item.request(name, now, cas=cas)
                if await _done(connection, request):
                    return True
            return False

        return await self._store.call(name, work)


async def _read(connection: MemcachedConnection, key: bytes) -> tuple[_Item, int | None]:
    """Return what the server has, and the number of that state, None without one."""
    return _item_in(await connection.ask(get_request(key)))


def _item_in(reply: MemcachedReply) -> tuple[_Item, int | None]:
    if not reply.found:
        return _Item(), None
    if reply.cas == ANY_STATE:
        raise StoreError("Memcached gives its items no numbers: start it without -C, or old values would be kept")
    return _Item.of(reply.value), reply.cas


async def _done(connection: MemcachedConnection, request: bytes) -> bool:
    """Send a change; return False if the item is not in the state that the change names."""
    return (await connection.ask(request)).done
