"""When a claim that waits looks again without a notification: at the time at which a job can begin, not sooner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from outlast.aio.notifier import Notifier
from outlast.core.limits import Limit
from outlast.core.settlement import Park, Release, Reschedule
from outlast.core.store.control import Edit, Pause
from outlast.core.unique import Unique
from tests.support.jobs import A, B, Desk

AHEAD = 0.4
"""Seconds until a job can begin: less than the time after which a store looks again in any case."""
LONG = 3600.0
"""Seconds that no test lasts."""
RATE = "150/m"
"""One begins, and the next `AHEAD` later."""


class Waits(Exception):
    """Raised in place of a wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait ends at once, and tells how long it would last at most."""

    async def wait(_: Notifier, __: int, timeout: float) -> None:
        raise Waits(timeout)

    monkeypatch.setattr(Notifier, "wait", wait)


async def next_look(desk: Desk) -> float:
    """Return after how many seconds a claim by B looks again that has found nothing, by its second look."""
    assert await desk.claim("q", "r", holder=B, lease=LONG) == []
    with pytest.raises(Waits) as waiting:
        await desk.claim("q", "r", holder=B, lease=LONG, wait=LONG)
    return waiting.value.seconds


async def taken(desk: Desk, *ids: str, **options: Any) -> None:
    """Publish jobs and let A hold them."""
    await desk.publish(*ids, **options)
    given = await desk.claim("q", "r", limit=len(ids), holder=A, lease=LONG)
    assert [each.message.id for each in given] == list(ids)


async def due(desk: Desk) -> None:
    await desk.publish("q.2", delay=AHEAD + 0.2)
    await desk.publish("q.1", delay=AHEAD)


async def due_in_another_queue(desk: Desk) -> None:
    await desk.publish("q.2", delay=AHEAD + 0.2)
    await desk.publish("r.1", delay=AHEAD)


async def due_with_a_key(desk: Desk) -> None:
    await desk.publish("q.1", delay=AHEAD, key="ann")
    await desk.publish("q.2", delay=AHEAD + 0.2, key="bob")


async def edited(desk: Desk) -> None:
    await desk.publish("q.1", delay=99)
    await desk.do(Edit("q.1", run_at=desk.clock.time() + AHEAD))


async def retried(desk: Desk) -> None:
    await taken(desk, "q.1")
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + AHEAD, 2))


async def released(desk: Desk) -> None:
    await taken(desk, "q.1")
    await desk.settle(Release(desk.fence("q.1"), desk.clock.time() + AHEAD))


async def parked(desk: Desk) -> None:
    await taken(desk, "q.2", "q.1")
    now = desk.clock.time()
    await desk.settle(Park(desk.fence("q.2"), now + 9), Park(desk.fence("q.1"), now + AHEAD))
    await desk.publish("q.3", delay=AHEAD + 0.2)


async def rate(desk: Desk) -> None:
    await desk.declare("q", rate=RATE, burst=1)
    await taken(desk, "q.0")
    await desk.publish("q.1")


async def rate_with_room_for_more_at_once(desk: Desk) -> None:
    await desk.declare("q", rate=RATE, burst=3, concurrency=9)
    await taken(desk, "q.a", "q.b", "q.c", key="ann")
    await desk.publish("q.1", key="ann")


async def rate_of_a_key(desk: Desk) -> None:
    await desk.declare("q", per_key=Limit(rate=RATE, burst=1))
    await taken(desk, "q.a", key="ann")
    await taken(desk, "q.b", key="bob")
    await desk.publish("q.2", key="bob", delay=AHEAD + 0.2)
    await desk.publish("q.1", key="ann")


async def lease_of_another(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A, lease=AHEAD)


async def unique_key_for_a_time(desk: Desk) -> None:
    await taken(desk, "q.a", unique=Unique("k", seconds=AHEAD))
    await taken(desk, "q.b", unique=Unique("other", seconds=9))
    await desk.publish("q.1", unique=Unique("k", seconds=99, replace=True))


AT_ITS_TIME: dict[str, Callable[[Desk], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        due,
        due_in_another_queue,
        due_with_a_key,
        edited,
        retried,
        released,
        parked,
        rate,
        rate_with_room_for_more_at_once,
        rate_of_a_key,
        lease_of_another,
        unique_key_for_a_time,
    )
}


@pytest.mark.across_queues
@pytest.mark.parametrize("why", AT_ITS_TIME)
async def test_it_looks_when_a_job_can_begin(desk: Desk, why: str) -> None:
    await AT_ITS_TIME[why](desk)
    assert await next_look(desk) == pytest.approx(AHEAD, abs=0.002)
    desk.clock.advance(AHEAD - 0.01)
    assert await desk.ids("q", "r", holder=B, lease=LONG) == []
    desk.clock.advance(0.011)
    assert [id.partition(".")[2] for id in await desk.ids("q", "r", holder=B, lease=LONG)] == ["1"]


async def nothing(desk: Desk) -> None:
    await desk.publish("s.1", delay=AHEAD)


async def paused(desk: Desk) -> None:
    await desk.publish("q.1", delay=AHEAD)
    await desk.apply(Pause("q"))


async def full(desk: Desk) -> None:
    await desk.declare("q", concurrency=1)
    await taken(desk, "q.0")
    await desk.publish("q.1", delay=AHEAD)


async def full_with_a_rate(desk: Desk) -> None:
    await desk.declare("q", concurrency=1, rate=RATE, burst=1)
    await taken(desk, "q.0")
    await desk.publish("q.1")


async def full_key(desk: Desk) -> None:
    await desk.declare("q", per_key=Limit(concurrency=1))
    await taken(desk, "q.0", key="ann")
    await desk.publish("q.1", key="ann")


async def unique_key_for_ever(desk: Desk) -> None:
    await taken(desk, "q.a", unique="k")
    await taken(desk, "q.b", unique=Unique("other", seconds=AHEAD))
    await desk.publish("q.1", unique=Unique("k", replace=True))


async def unique_key_that_no_job_waits_for(desk: Desk) -> None:
    await taken(desk, "q.a", unique=Unique("k", seconds=AHEAD))


async def own_lease(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=B, lease=AHEAD)


NO_TIME: dict[str, Callable[[Desk], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        nothing,
        paused,
        full,
        full_with_a_rate,
        full_key,
        unique_key_for_ever,
        unique_key_that_no_job_waits_for,
        own_lease,
    )
}


@pytest.mark.across_queues
@pytest.mark.parametrize("why", NO_TIME)
async def test_it_looks_at_no_time_at_which_no_job_can_begin(desk: Desk, why: str) -> None:
    await NO_TIME[why](desk)
    assert await next_look(desk) >= 1
