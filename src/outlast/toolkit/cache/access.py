"""The calls of the cache to its store, each through the guard of the toolkit."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from outlast.aio.notifier import Notifier
from outlast.core.clock import Clock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.near import NearCopies
from outlast.toolkit.cache.store import Begun, CacheDraft, CacheStore, Seen, Versions
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.memory import ToolkitMemory
    from outlast.toolkit.server import ToolkitServer

__all__ = ["CacheAccess"]


class CacheAccess:
    """The form of the cache on the store of a toolkit. All calls raise ToolkitAway; the words are of `CacheStore`.

    most_bytes: of all entries in memory, or in a file.
    """

    def __init__(self, toolkit: Toolkit, most_bytes: int) -> None:
        self.toolkit = toolkit
        self.clock: Clock = toolkit.clock
        self._most = most_bytes

    def _on(self, store: ToolkitStore) -> CacheStore:
        return store.form(self, self._in_memory, self._in_file, _on_server, caches_only=_on_memcached)

    def _in_memory(self, store: ToolkitMemory) -> CacheStore:
        from outlast.toolkit.cache.memory import CacheMemory

        return CacheMemory(store, self._most)

    def _in_file(self, store: ToolkitFile) -> CacheStore:
        from outlast.toolkit.cache.file import CacheFile

        return CacheFile(store, self._most)

    def look(self, key: str) -> Coroutine[Any, Any, Seen]:
        """Return what is there."""
        return self.toolkit.use(lambda store: self._on(store).look(key))

    async def track(self, near: NearCopies) -> None:
        """Have `near` told of all changes, or turned off where the store cannot tell. A second call changes nothing."""

        async def track(store: ToolkitStore) -> bool:
            return self._on(store).track(near)

        near.possible = await self.toolkit.use(track)

    async def versions(self, tags: Sequence[str]) -> Versions:
        """Return the present versions of the tags that have one."""
        return await self.toolkit.use(lambda store: self._on(store).versions(tags))

    async def begin(
        self, key: str, lease_id: str, tags: Sequence[str], *, lease: float, kept: float, past: str
    ) -> Begun:
        """Take the lease of a key, unless it is taken, or another fresh entry than `past` is there."""
        return await self.toolkit.use(
            lambda store: self._on(store).begin(key, lease_id, tags, lease=lease, kept=kept, past=past)
        )

    async def renew(self, key: str, lease_id: str, lease: float) -> bool:
        """Let the lease end in `lease` seconds; return whether it is still held."""
        return await self.toolkit.use(lambda store: self._on(store).renew(key, lease_id, lease))

    async def finish(self, key: str, draft: CacheDraft) -> bool:
        """Keep the value and end its lease, if that is still held; return whether it was."""
        return await self.toolkit.use(lambda store: self._on(store).finish(key, draft))

    async def abandon(self, key: str, lease_id: str) -> None:
        """End the lease, if it is still held."""
        await self.toolkit.use(lambda store: self._on(store).abandon(key, lease_id))

    async def put(self, key: str, draft: CacheDraft, tags: Sequence[str]) -> None:
        """Keep a value with the present versions of `tags`, and void the lease of the key."""
        await self.toolkit.use(lambda store: self._on(store).put(key, draft, tags))

    async def delete(self, key: str) -> bool:
        """Remove the entry and void the lease of the key; return whether there was an entry."""
        return await self.toolkit.use(lambda store: self._on(store).delete(key))

    async def invalidate(self, tags: Sequence[str]) -> None:
        """Make all entries with one of these tags dead."""
        await self.toolkit.use(lambda store: self._on(store).invalidate(tags))

    async def ended(self) -> Notifier:
        """Return the notifier of computations that have ended, in any process."""

        async def ended(store: ToolkitStore) -> Notifier:
            return self._on(store).ended()

        return await self.toolkit.use(ended)


def _on_memcached(store: ToolkitStore) -> CacheStore:
    from outlast.toolkit.cache.memcached import CacheMemcached
    from outlast.toolkit.memcached import ToolkitMemcached

    assert isinstance(store, ToolkitMemcached)
    return CacheMemcached(store)


def _on_server(store: ToolkitServer) -> CacheStore:
    from outlast.toolkit.cache.server import CacheServer

    return CacheServer(store)
