"""Follow-ups: durable in the step that settles the job, and once."""

from __future__ import annotations

import pytest

from outlast.core.settlement import Finish, Reschedule
from tests.support.jobs import LEASE, A, B, Desk, lost


@pytest.mark.parametrize("state", ["succeeded", "dead", "cancelled", "expired"])
async def test_every_end_may_have_follow_ups(desk: Desk, state: str) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.finish("q.1", state=state, then=[desk.message("q.2"), desk.message("q.3")])  # type: ignore[arg-type]
    assert await desk.ids() == ["q.2", "q.3"]


async def test_follow_ups_in_other_queues(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.finish("q.1", then=[desk.message("r.1"), desk.message("s.1", delay=5)])
    assert await desk.ids("r", "s") == ["r.1"]
    assert await desk.state("s.1") == "scheduled"


async def test_a_retry_may_have_follow_ups(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + 5, 2, then=[desk.message("q.2")]))
    assert await desk.ids() == ["q.2"]


async def test_a_repeated_settlement_adds_nothing(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    for _ in range(2):
        assert await desk.finish("q.1", then=[desk.message("q.2")]) == []
    assert await desk.ids() == ["q.2"]
    assert (await desk.stats()).depth == 1


async def test_a_superseded_settlement_adds_nothing(desk: Desk) -> None:
    await desk.publish("q.1")
    old = (await desk.claim(holder=A))[0].fence
    desk.clock.advance(LEASE + 1)
    await desk.claim(holder=B)
    assert await desk.settle(Finish(old, "succeeded", then=[desk.message("q.2")])) == lost([old])
    assert await desk.state("q.2") == "unknown"


async def test_a_known_id_is_not_added_again(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim()
    await desk.finish("q.2")
    await desk.finish("q.1", then=[desk.message("q.2"), desk.message("q.3"), desk.message("q.3")])
    assert await desk.ids() == ["q.3"]
    assert await desk.state("q.2") == "succeeded"


async def test_follow_ups_of_many_settlements_come_in_their_order(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim()
    await desk.settle(
        Finish(desk.fence("q.2"), "succeeded", then=[desk.message("q.a")]),
        Finish(desk.fence("q.1"), "succeeded", then=[desk.message("q.b")]),
    )
    assert await desk.ids() == ["q.a", "q.b"]
