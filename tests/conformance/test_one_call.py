"""Commands and messages of one call see what those before them have done, in the lines of the queue too."""

from __future__ import annotations

import pytest

from outlast.core.settlement import ACCEPTED, Accepted
from outlast.core.store.control import Cancel, Command, Edit, Purge, RunNow
from outlast.core.unique import Unique
from tests.support.jobs import Desk


@pytest.mark.parametrize("key", [None, "ann"])
@pytest.mark.parametrize("end", [Cancel("q.1"), Purge(id="q.1")], ids=["cancel", "purge"])
@pytest.mark.parametrize("first", [RunNow("q.1"), Edit("q.1", priority="high", run_at=0.0)], ids=["run now", "edit"])
async def test_a_job_that_joins_the_line_and_ends_leaves_it(
    desk: Desk, first: Command, end: Command, key: str | None
) -> None:
    await desk.publish("q.1", "q.3", "q.4", delay=10, key=key)
    await desk.publish("q.2", key=key)
    assert [each.ok for each in await desk.apply(first, end)] == [True, True]
    assert (await desk.stats()).ready == 1
    await desk.apply(RunNow("q.3"))
    assert sorted(await desk.ids()) == ["q.2", "q.3"]
    stats = await desk.stats()
    assert (stats.ready, stats.scheduled, stats.running, stats.depth) == (0, 1, 2, 3)
    desk.clock.advance(10)
    assert "q.4" in await desk.ids()


@pytest.mark.parametrize("key", [None, "ann"])
async def test_a_job_that_leaves_the_line_and_comes_back_is_given_once(desk: Desk, key: str | None) -> None:
    await desk.publish("q.1", "q.2", key=key)
    later = desk.clock.time() + 10
    await desk.apply(Edit("q.1", run_at=later), RunNow("q.1"), Edit("q.2", run_at=later), Edit("q.2", priority="low"))
    assert (await desk.stats()).ready == 1
    assert await desk.ids() == ["q.1"]
    await desk.finish("q.1")
    desk.clock.advance(10)
    assert await desk.ids() == ["q.2"]
    assert (await desk.stats()).depth == 1


@pytest.mark.parametrize("key", [None, "ann"])
async def test_a_job_that_is_replaced_in_the_batch_that_brought_it_is_not_given(desk: Desk, key: str | None) -> None:
    await desk.publish("q.0", key=key)
    urgent = {"priority": "high", "unique": Unique("k", replace=True), "key": key}
    assert await desk.publish("q.1", "q.2", "q.3", **urgent) == [ACCEPTED, Accepted("q.1"), Accepted("q.2")]
    assert (await desk.stats()).ready == 2
    assert await desk.ids() == ["q.3", "q.0"]
    assert await desk.ids() == []


async def test_a_job_for_later_that_is_replaced_in_the_batch_that_brought_it_is_not_counted(desk: Desk) -> None:
    unique = Unique("k", replace=True)
    assert await desk.publish("q.1", "q.2", delay=50, unique=unique) == [ACCEPTED, Accepted("q.1")]
    stats = await desk.stats()
    assert (stats.scheduled, stats.depth) == (1, 1)
    desk.clock.advance(50)
    assert await desk.ids() == ["q.2"]


@pytest.mark.parametrize("key", [None, "ann"])
async def test_a_job_that_is_shed_in_the_batch_that_brought_it_is_not_given(desk: Desk, key: str | None) -> None:
    await desk.declare("q", max_depth=2, on_full="shed")
    await desk.publish("q.0", priority="high", key=key)
    desk.clock.advance(30)
    answers = await desk.publish("q.1", "q.2", key=key) + await desk.publish("q.3", "q.4", priority="high", key=key)
    assert answers == [ACCEPTED, Accepted(shed=("q.1",)), Accepted(shed=("q.2",)), Accepted(shed=("q.0",))]
    assert await desk.ids() == ["q.3", "q.4"]
    assert await desk.ids() == []
