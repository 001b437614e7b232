"""The judge of a schedule whose record was damaged: only itself stands still."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from outlast.core.schedule import PauseSchedule, RemoveSchedule, ScheduleAdvance, ScheduleEntry, Spec
from tests.support.jobs import Desk

__all__ = ["stands_alone"]


async def stands_alone(desk: Desk, spoil: Callable[[], Awaitable[None]]) -> None:
    """Declare schedules a and bad; spoil: damages the record of bad."""

    def entry(name: str) -> ScheduleEntry:
        return ScheduleEntry(name=name, app="shop", kind="clean", queue="q", spec=Spec(every=60), version="v1")

    def move(name: str, revision: int, *ids: str) -> ScheduleAdvance:
        return ScheduleAdvance(
            name=name, expect=revision, upto=desk.clock.time(), messages=tuple(desk.message(id_) for id_ in ids)
        )

    store = desk.store
    a, bad = await store.enlist([entry("a"), entry("bad")])
    await spoil()
    assert await store.schedules() == [a]
    assert await store.advance([move("bad", bad.revision, "q.1"), move("a", a.revision, "q.2")]) == [False, True]
    assert await desk.ids() == ["q.2"]
    answers = await store.amend([PauseSchedule("bad"), PauseSchedule("a")])
    assert [(each.ok, each.why) for each in answers] == [(False, "unreadable"), (True, "")]
    (again,) = await store.enlist([entry("bad")])
    assert [each.name for each in await store.schedules()] == ["a", "bad"]
    assert await store.advance([move("bad", again.revision, "q.3")]) == [True]
    await spoil()
    answers = await store.amend([RemoveSchedule("bad"), RemoveSchedule("bad")])
    assert [(each.ok, each.why) for each in answers] == [(True, ""), (False, "unknown")]
    assert [each.name for each in await store.schedules()] == ["a"]
