"""The cache on a Redis or Valkey server: an entry and its lease in one slot, each tag in a slot of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from secrets import token_hex
from typing import Any

import msgspec

from outlast.aio.notifier import Notifier
from outlast.clients.redis.client import Argument
from outlast.clients.redis.scripts import load_script
from outlast.toolkit.cache.entries import packed_entry, unpacked_entry
from outlast.toolkit.cache.near import NearCopies
from outlast.toolkit.cache.store import CHANGE, Begun, CacheDraft, CacheStore, Seen, Versions
from outlast.toolkit.server import ToolkitServer

__all__ = ["CacheServer"]


class CacheServer(CacheStore):
    """See `CacheStore`. The server bounds its memory: `maxmemory` and an eviction policy."""

    def __init__(self, store: ToolkitServer) -> None:
        self._store = store

    def ended(self) -> Notifier:
        """Return the notifier of computations that have ended, in any process."""
        return self._store.listen(CHANGE)

    def track(self, near: NearCopies) -> bool:
        """Tell `near` of all changes; a Cluster cannot: each of its masters tells of its own keys only."""
        if self._store.client.split:
            return False
        # Not of leases, which change at each miss.
        entries, tags = (self._store.key(piece, "").removesuffix("}") for piece in ("cache", "cache-tag"))
        as_bytes = entries.encode(), tags.encode()

        def changed(keys: Sequence[bytes]) -> None:
            near.changed(key[len(entries) : -1].decode() for key in keys if key.startswith(as_bytes[0]))
            of_tags = [key[len(tags) : -1].decode() for key in keys if key.startswith(as_bytes[1])]
            if of_tags:
                near.tags_changed(of_tags)

        self._store.client.track((entries, tags), changed, lambda on: near.switch(on=on))
        return True

    async def look(self, key: str) -> Seen:
        """Return what is there: one round trip, and one more for the tags of an entry that has some."""
        return await self._seen(key, await self._run("look", key, again=True))

    async def versions(self, tags: Sequence[str]) -> Versions:
        """Return the present versions of the tags that have one."""
        get = self._store.client.command
        raws = await asyncio.gather(*(get("GET", self._tag_key(tag)) for tag in tags))
        # The server's expiry is enough here: a version that is found later than its end is still never used twice.
        return {tag: raw[8:].decode() for tag, raw in zip(tags, raws, strict=True) if raw}

    async def begin(
        self, key: str, lease_id: str, tags: Sequence[str], *, lease: float, kept: float, past: str
    ) -> Begun:
        """Take the lease of a key, unless it is taken, or another fresh entry than `past` is there."""
        # The versions first: one that is read after the computation began may be newer than what it read.
        versions = await self._made(tags, kept)
        found = await self._run("begin", key, lease_id, lease, past, again=True)
        seen = await self._seen(key, found)
        # Sent again after a lost connection, it finds the lease that it took.
        return Begun(found[0] == 1 or seen.lease == lease_id, seen, versions)

    async def renew(self, key: str, lease_id: str, lease: float) -> bool:
        """Let the lease end in `lease` seconds; return whether it is still held."""
        return bool(await self._run("renew", key, lease_id, lease, again=True))

    async def finish(self, key: str, draft: CacheDraft) -> bool:
        """Keep the value and end the lease `draft.id`, if that is still held."""
        packed = packed_entry(draft, draft.tags)
        return bool(await self._run("finish", key, draft.id, draft.fresh, draft.kept, packed))

    async def abandon(self, key: str, lease_id: str) -> None:
        """End the lease, if it is still held."""
        await self._run("abandon", key, lease_id, again=True)

    async def put(self, key: str, draft: CacheDraft, tags: Sequence[str]) -> None:
        """Keep a value with the present versions of `tags`, and void the lease of the key."""
        versions = await self._made(tags, draft.kept)
        await self._run("put", key, draft.fresh, draft.kept, packed_entry(draft, versions))

    async def delete(self, key: str) -> bool:
        """Remove the entry and void the lease of the key."""
        found = await self._run("delete", key, again=True)
        return found is not None and (await self._seen(key, [0, found, b"0", None])).entry is not None

    async def invalidate(self, tags: Sequence[str]) -> None:
        """Make all entries with one of these tags dead."""
        await asyncio.gather(*(self._store.client.command("DEL", self._tag_key(tag)) for tag in tags))

    async def _run(self, name: str, key: str, *args: Argument, again: bool = False) -> Any:
        script = load_script(__package__, "clock", name)
        keys = (self._store.key("cache", key), self._store.key("cache-lease", key))
        return await self._store.run(script, keys, args, again=again)

    def _tag_key(self, tag: str) -> str:
        return self._store.key("cache-tag", tag)

    async def _made(self, tags: Iterable[str], kept: float) -> Versions:
        tags = tuple(tags)
        script = load_script(__package__, "tag")
        made = await asyncio.gather(
            *(self._store.run(script, (self._tag_key(tag),), (token_hex(8), kept), again=True) for tag in tags)
        )
        return {tag: version.decode() for tag, version in zip(tags, made, strict=True)}

    async def _seen(self, key: str, found: list[Any]) -> Seen:
        _, packed, left, lease = found
        under_way = lease.decode("ascii", "replace") if lease else ""
        if not packed:
            return Seen(None, "", under_way)
        try:
            entry = unpacked_entry(packed, float(left))
        except (ValueError, msgspec.MsgspecError):  # damaged: a computation would find it in its way
            await self._run("delete", key, again=True)
            return Seen(None, "", "")
        if entry.tags and await self.versions(tuple(entry.tags)) != entry.tags:
            return Seen(None, entry.id, under_way)
        return Seen(entry, entry.id, under_way)
