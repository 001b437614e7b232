"""The judge of a guard whose shared state was damaged: only itself begins again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from outlast.core.guards.record import commanded
from tests.support.jobs import Desk

__all__ = ["begins_again"]


async def begins_again(desk: Desk, spoil: Callable[[], Awaitable[None]]) -> None:
    """Hold guards a and bad open; spoil: damages the record of bad."""
    store = desk.store
    view = await store.guards()
    a, bad = (commanded(view.of(name), "open", view.now) for name in ("a", "bad"))
    assert await store.swap([a, bad]) == [True, True]
    await spoil()
    view = await store.guards()
    assert [(each.name, each.held) for each in view.records] == [("a", "open")]
    # The states of the others change on; of a damaged one only the first revision is stored, and replaces it.
    assert await store.swap([commanded(a, "close", view.now), commanded(bad, "close", view.now)]) == [True, False]
    heard = await store.guards_changed(0, 0)
    assert await store.swap([commanded(view.of("bad"), "close", view.now)]) == [True]
    assert await store.guards_changed(heard, 60) != heard
    assert [(each.name, each.held) for each in (await store.guards()).records] == [("a", "closed"), ("bad", "closed")]
