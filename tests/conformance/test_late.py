"""What a holder reports after its lease has lapsed: it counts until the job is handed out again, wherever it waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from outlast.core.limits import Limit
from outlast.core.message import Fence
from outlast.core.settlement import ACCEPTED, Exists, Finish, Note, Park, Release, Reschedule, Settlement
from outlast.core.store.control import Edit, RunNow
from tests.support.jobs import B, Desk, failure, raw

SOON = 50.0


async def waits(desk: Desk) -> None:
    """It stays where the lapse has put it."""


async def is_put_off(desk: Desk) -> None:
    """An operator lets it begin later."""
    answer = await desk.do(Edit("q.1", run_at=desk.clock.time() + 500))
    assert answer.ok
    assert await desk.state("q.1") == "scheduled"


async def is_put_off_and_called_back(desk: Desk) -> None:
    """An operator lets it begin later, and then at once."""
    await is_put_off(desk)
    assert (await desk.do(RunNow("q.1"))).ok


WHERE: dict[str, Callable[[Desk], Awaitable[None]]] = {
    each.__name__: each for each in (waits, is_put_off, is_put_off_and_called_back)
}
ENDS: dict[str, Callable[[Fence], Settlement]] = {
    "success": lambda fence: Finish(fence, "succeeded"),
    "result": lambda fence: Finish(fence, "succeeded", result=raw(1), result_ttl=60),
    "death": lambda fence: Finish(fence, "dead", "attempts", error=failure()),
}
LATER: dict[str, tuple[Callable[[Fence, float], Settlement], str]] = {
    "retry": (lambda fence, now: Reschedule(fence, now + SOON, 2), "scheduled"),
    "release": (lambda fence, now: Release(fence, now + SOON), "scheduled"),
    "park": (lambda fence, now: Park(fence, now + SOON), "parked"),
}


async def lapsed(desk: Desk, where: str) -> Fence:
    """Return the fence of job q.1, which has lapsed."""
    await desk.declare("q", max_bytes=100, per_key=Limit(max_bytes=50, concurrency=1))
    await desk.publish("q.1", key="ann", unique="u", args={"a": "b"})
    await desk.claim()
    await desk.lapse()
    await WHERE[where](desk)
    return desk.fence("q.1")


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("how", ENDS)
async def test_an_end_counts(desk: Desk, how: str, where: str) -> None:
    fence = await lapsed(desk, where)
    assert await desk.settle(ENDS[how](fence)) == []
    assert await desk.state("q.1") == ("dead" if how == "death" else "succeeded")
    stats = await desk.stats()
    assert (stats.depth, stats.bytes) == (0, 0)
    assert await desk.publish("q.2", key="ann", unique="u", args={"a": "b" * 42}) == [ACCEPTED]
    assert await desk.ids(holder=B) == ["q.2"]
    desk.clock.advance(999)
    assert await desk.ids() == ["q.2"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("how", LATER)
async def test_a_giving_back_counts(desk: Desk, how: str, where: str) -> None:
    fence = await lapsed(desk, where)
    settlement, state = LATER[how]
    assert await desk.settle(settlement(fence, desk.clock.time())) == []
    record = await desk.record("q.1")
    assert (record.state, record.run_at, record.crashes) == (state, desk.clock.time() + SOON, 0)
    assert await desk.claim() == []
    assert await desk.publish("q.2", unique="u") == [Exists("q.1", "unique")]
    desk.clock.advance(SOON)
    assert await desk.ids() == ["q.1"]


@pytest.mark.parametrize("where", WHERE)
async def test_a_note_is_kept(desk: Desk, where: str) -> None:
    fence = await lapsed(desk, where)
    assert await desk.store.save([Note(fence, "progress", raw(0.5))]) == []
    assert (await desk.record("q.1")).progress == 0.5
