"""The cache in the toolkit's SQLite file: one indexed row is read on the event loop; writes are not synced."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import Any, Final

import msgspec

from outlast.aio.notifier import Notifier
from outlast.toolkit.cache.store import CHANGE, Begun, CacheDraft, CacheEntry, CacheStore, Seen, Versions
from outlast.toolkit.file import FileSession, ToolkitFile

__all__ = ["CacheFile", "tidy_cache"]

OVERHEAD: Final = 200
"""Bytes that an entry takes beside its key and body, roughly."""
MOST_USED: Final = 10_000
"""Keys whose use is remembered until the next write; of more, the use is not known."""
EVICTED: Final = 64
"""Entries that are removed in one step when there is no room."""
TIDIED: Final = 200
"""Expired rows of each table that one step removes."""

# One row, with or without an entry: the lease of the key comes with it. dead: a tag has another version, or none.
_LOOK: Final = """
select c.id, c.body, c.fresh, c.cost, c.tags, l.id,
  c.tags <> '' and exists (
    select 1 from json_each(c.tags) as j
    left join cache_tags as t on t.tag = j.key and t.until > ?2
    where t.version is not j.value)
from (select 1)
left join cache as c on c.key = ?1 and c.until > ?2
left join cache_leases as l on l.key = ?1 and l.until > ?2
"""
_VERSION: Final = "select version from cache_tags where tag = ? and until > ?"
_END_LEASE: Final = "delete from cache_leases where key = ? and id = ? and until > ?"
_tags_of: Final = msgspec.json.Decoder(Versions)


class CacheFile(CacheStore):
    """See `CacheStore`. most_bytes: of all entries; over it, the entries that were not used for longest are removed."""

    def __init__(self, store: ToolkitFile, most_bytes: int) -> None:
        self._store = store
        self._most = most_bytes
        self._now = store.clock.monotonic
        self._used: dict[str, float] = {}

    def ended(self) -> Notifier:
        """Return the notifier of computations that have ended, in any process."""
        return self._store.listen(CHANGE)

    async def look(self, key: str) -> Seen:
        """Return what is there, read on the event loop."""
        now = self._now()
        seen = _seen(self._store.read_row(_LOOK, key, now), now)
        if seen.entry is not None and len(self._used) < MOST_USED:
            self._used[key] = now
        return seen

    async def versions(self, tags: Sequence[str]) -> Versions:
        """Return the present versions of the tags that have one."""
        now = self._now()
        rows = ((tag, self._store.read_row(_VERSION, tag, now)) for tag in tags)
        return {tag: row[0] for tag, row in rows if row is not None}

    async def begin(
        self, key: str, lease_id: str, tags: Sequence[str], *, lease: float, kept: float, past: str
    ) -> Begun:
        """Take the lease of a key, unless it is taken, or another fresh entry than `past` is there."""

        def begin(session: FileSession) -> Begun:
            versions = _made(session, tags, kept)
            seen = _seen(session.row(_LOOK, key, session.tick), session.tick)
            newer = seen.entry is not None and seen.past != past and seen.entry.left > 0
            if newer or seen.lease:
                return Begun(False, seen, versions)
            session.run(
                "insert into cache_leases (key, id, until) values (?1, ?2, ?3) "
                "on conflict (key) do update set id = ?2, until = ?3",
                *(key, lease_id, session.tick + lease),
            )
            return Begun(True, seen, versions)

        return await self._store.write(begin, synced=False)

    async def renew(self, key: str, lease_id: str, lease: float) -> bool:
        """Let the lease end in `lease` seconds; return whether it is still held."""

        def renew(session: FileSession) -> bool:
            sql = "update cache_leases set until = ? where key = ? and id = ? and until > ?"
            return session.run(sql, session.tick + lease, key, lease_id, session.tick) > 0

        return await self._store.write(renew, synced=False)

    async def finish(self, key: str, draft: CacheDraft) -> bool:
        """Keep the value and end the lease `draft.id`, if that is still held."""
        used, self._used = self._used, {}

        def finish(session: FileSession) -> bool:
            if not session.run(_END_LEASE, key, draft.id, session.tick):
                return False
            self._keep(session, key, draft, draft.tags, used)
            return True

        return await self._store.write(finish, synced=False)

    async def abandon(self, key: str, lease_id: str) -> None:
        """End the lease, if it is still held."""

        def abandon(session: FileSession) -> None:
            if session.run(_END_LEASE, key, lease_id, session.tick):
                session.changes.add(CHANGE)

        await self._store.write(abandon, synced=False)

    async def put(self, key: str, draft: CacheDraft, tags: Sequence[str]) -> None:
        """Keep a value with the present versions of `tags`, and void the lease of the key."""
        used, self._used = self._used, {}

        def put(session: FileSession) -> None:
            session.run("delete from cache_leases where key = ?", key)
            self._keep(session, key, draft, _made(session, tags, draft.kept), used)

        await self._store.write(put, synced=False)

    async def delete(self, key: str) -> bool:
        """Remove the entry and void the lease of the key."""

        def delete(session: FileSession) -> bool:
            seen = _seen(session.row(_LOOK, key, session.tick), session.tick)
            session.run("delete from cache where key = ?", key)
            if session.run("delete from cache_leases where key = ?", key):
                session.changes.add(CHANGE)
            return seen.entry is not None

        return await self._store.write(delete, synced=False)

    async def invalidate(self, tags: Sequence[str]) -> None:
        """Make all entries with one of these tags dead."""

        def invalidate(session: FileSession) -> None:
            for tag in tags:
                session.run("delete from cache_tags where tag = ?", tag)

        await self._store.write(invalidate, synced=False)

    def _keep(self, session: FileSession, key: str, draft: CacheDraft, tags: Versions, used: dict[str, float]) -> None:
        now, size = session.tick, len(key) + len(draft.body) + OVERHEAD
        # A replaced row would not run the trigger that counts what was removed.
        session.run("delete from cache where key = ?", key)
        for each, at in used.items():
            session.run("update cache set used = max(used, ?) where key = ?", at, each)
        session.run(
            "insert into cache (key, id, fresh, until, cost, tags, used, size, body) "
            "values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(key, draft.id, now + draft.fresh, now + draft.kept, draft.cost),
            *(msgspec.json.encode(tags).decode() if tags else "", now, size, draft.body),
        )
        session.changes.add(CHANGE)
        while self._is_full(session) and session.run(
            "delete from cache where key in (select key from cache where key <> ? order by used limit ?)", key, EVICTED
        ):
            continue

    def _is_full(self, session: FileSession) -> bool:
        row = session.row("select bytes > ? from cache_total", self._most)
        return row is not None and bool(row[0])


def _seen(row: tuple[Any, ...] | None, now: float) -> Seen:
    if row is None:
        return Seen(None, "", "")
    entry_id, body, fresh, cost, tags, lease, dead = row
    if entry_id is None or dead:
        return Seen(None, entry_id or "", lease or "")
    found = _tags_of.decode(tags) if tags else {}
    return Seen(CacheEntry(entry_id, body, fresh - now, cost, found), entry_id, lease or "")


def _made(session: FileSession, tags: Sequence[str], kept: float) -> Versions:
    """Return the versions of the tags, made where there is none, that last for an entry of `kept` seconds."""
    found: Versions = {}
    now = session.tick
    for tag in tags:
        row = session.row("select version, until from cache_tags where tag = ? and until > ?", tag, now)
        if row is not None and row[1] > now + kept:
            found[tag] = row[0]
            continue
        found[tag] = row[0] if row is not None else token_hex(8)
        session.run(
            "insert into cache_tags (tag, version, until) values (?1, ?2, ?3) "
            "on conflict (tag) do update set version = ?2, until = ?3",
            *(tag, found[tag], now + 2 * kept),
        )
    return found


def tidy_cache(session: FileSession) -> bool:
    """Remove some of what has expired; return whether more remains."""
    removed = [
        session.run(
            f"delete from {table} where {key} in (select {key} from {table} where until <= ? limit ?)",  # noqa: S608
            session.tick,
            TIDIED,
        )
        for table, key in (("cache", "key"), ("cache_leases", "key"), ("cache_tags", "tag"))
    ]
    return max(removed) >= TIDIED
