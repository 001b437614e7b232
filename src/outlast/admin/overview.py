"""The state of a store at a glance: queues with their last hour, guards, and the newest entries of the journal."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from outlast.admin.guards import GuardStatus, guards_of, waits_of_queues
from outlast.core.history import SORTS, STEPS, Entry, QueueSample
from outlast.core.store.broker import QueueStats
from outlast.core.store.store import Store

__all__ = ["Overview", "newest", "overview"]


class Overview(Struct, frozen=True, kw_only=True):
    """What is known of a store now. samples: of each queue, every 10 s for an hour. waits: why jobs of a queue wait for
    guards. guards: those that are not closed. entries: of the journal, the newest first."""

    queues: dict[str, QueueStats]
    samples: dict[str, list[QueueSample]] = {}
    waits: dict[str, str] = {}
    guards: tuple[GuardStatus, ...] = ()
    entries: tuple[Entry, ...] = ()


async def overview(
    store: Store, queues: Sequence[str] = (), *, declared: Sequence[str] = (), entries: int = 5
) -> Overview:
    """Read the state of these queues, of all when empty; raise StoreError, ConfigurationError.

    declared: the queues of the app, for a transport, which does not list its own.
    """
    if not queues and not store.keeps_records():
        queues = declared
    stats = await store.broker.stats(queues)
    return Overview(
        queues=stats,
        samples=await store.history.samples(STEPS[0], queues) if store.keeps_history() else {},
        waits=await waits_of_queues(store, stats),
        guards=tuple(each for each in await _guards(store, stats) if each.state != "closed" or each.held),
        entries=await newest(store, entries),
    )


async def newest(store: Store, limit: int) -> tuple[Entry, ...]:
    """Return the newest entries of the journal, of all sorts."""
    if not store.keeps_history():
        return ()
    found = [each for sort in SORTS for each in await store.history.journal(sort, limit)]
    return tuple(sorted(found, key=lambda each: -each.at)[:limit])


async def _guards(store: Store, stats: dict[str, QueueStats]) -> list[GuardStatus]:
    return guards_of(await store.guards.guards(), stats, {}) if store.shares_guards() else []
