"""What workers can do for a queue, and the forecast that follows from it and from what was counted."""

from __future__ import annotations

import asyncio
import math

import pytest
from msgspec import structs

from outlast.core.forecast import Forecast, Offer
from outlast.core.guards.permits import PermitsInUse
from outlast.core.limits import Limit
from outlast.core.message import Holder
from outlast.core.settlement import ACCEPTED, Exists, Full
from outlast.core.store.control import Pause
from outlast.enqueue.line import Line
from tests.support.jobs import A, B, Desk

TWO = structs.replace(A, loads={"q": Offer(2, 1.0)})
THREE = structs.replace(B, loads={"q": Offer(3, 1.0)})


async def forecast(desk: Desk) -> Forecast:
    return (await desk.stats()).forecast


async def fill(desk: Desk, jobs: int) -> None:
    await desk.publish(*(f"q.{n}" for n in range(jobs)))


async def test_without_a_worker_nothing_is_foretold(desk: Desk) -> None:
    await fill(desk, 3)
    found = await forecast(desk)
    assert (found.empty_in, found.begin_in, found.why) == (None, None, "no worker")


async def test_the_slots_of_all_live_workers_add_up(desk: Desk) -> None:
    await fill(desk, 20)
    await desk.claim(holder=TWO, limit=2)
    await desk.claim(holder=THREE, limit=3)
    found = await forecast(desk)
    assert found.ends == 5.0
    assert found.empty_in == pytest.approx(20 / 5)
    assert found.begin_in == pytest.approx((15 + 5 + 1 - 5) / 5)


async def test_a_worker_without_a_lease_adds_nothing(desk: Desk) -> None:
    await fill(desk, 20)
    await desk.claim(holder=THREE, limit=3, lease=5)
    await desk.claim(holder=TWO, limit=2, lease=100)
    desk.clock.advance(6)
    assert (await forecast(desk)).ends == 2.0


async def test_a_worker_that_has_ended_adds_nothing(desk: Desk) -> None:
    await fill(desk, 20)
    await desk.claim(holder=THREE, limit=3)
    await desk.claim(holder=TWO, limit=2)
    await desk.store.forfeit(THREE, crashed=False)
    assert (await forecast(desk)).ends == 2.0


async def test_permits_in_use_are_those_that_live_workers_told_last(desk: Desk) -> None:
    one, other = (PermitsInUse("payments", process, used=2, of=3, waiting=4) for process in ("a:1", "b:2"))
    await fill(desk, 1)
    await desk.claim(holder=structs.replace(A, loads={"q": Offer(2, 1.0, (one,))}), limit=0, lease=100)
    await desk.claim(holder=structs.replace(B, loads={"q": Offer(2, 1.0, (other,))}), limit=0, lease=5)
    assert sorted(each.process for each in (await desk.stats()).permits) == ["a:1", "b:2"]
    desk.clock.advance(6)
    assert (await desk.stats()).permits == (one,)
    await desk.claim(holder=structs.replace(A, loads={"q": Offer(2, 1.0)}), limit=0)
    assert (await desk.stats()).permits == ()


async def test_news_of_a_worker_replace_what_it_told(desk: Desk) -> None:
    await fill(desk, 20)
    await desk.claim(holder=TWO, limit=2)
    await desk.claim(holder=structs.replace(A, loads={"q": Offer(2, 4.0)}), limit=0)
    assert (await forecast(desk)).ends == 0.5


async def test_a_worker_that_tells_nothing_leaves_the_forecast_open(desk: Desk) -> None:
    await fill(desk, 3)
    await desk.claim(holder=A, limit=1)
    found = await forecast(desk)
    assert (found.empty_in, found.begin_in, found.why) == (None, None, "its workers take none now")


async def test_without_a_run_yet_the_speed_is_unknown(desk: Desk) -> None:
    await fill(desk, 3)
    await desk.claim(holder=structs.replace(A, loads={"q": Offer(1)}), limit=1)
    assert (await forecast(desk)).why == "no job has run yet"


async def test_a_paused_queue_has_no_end(desk: Desk) -> None:
    await fill(desk, 3)
    await desk.claim(holder=TWO, limit=1)
    await desk.store.apply([Pause("q", on=True)])
    found = await forecast(desk)
    assert (found.empty_in, found.begin_in, found.why) == (None, None, "paused")


async def test_an_empty_queue_begins_a_job_at_once(desk: Desk) -> None:
    await desk.claim(holder=TWO, limit=2)
    await desk.run("q.1", holder=TWO)
    found = await forecast(desk)
    assert (found.empty_in, found.begin_in) == (0.0, 0.0)


async def test_the_concurrency_of_the_queue_bounds_its_speed(desk: Desk) -> None:
    await desk.declare("q", concurrency=1)
    await fill(desk, 5)
    await desk.claim(holder=THREE, limit=3)
    assert (await forecast(desk)).ends == pytest.approx(1.0)


async def test_the_rate_of_the_queue_bounds_its_speed(desk: Desk) -> None:
    await desk.declare("q", rate="2/s")
    await fill(desk, 9)
    await desk.claim(holder=THREE, limit=3)
    assert (await forecast(desk)).ends == pytest.approx(2.0)


async def work(desk: Desk, holder: Holder, *, seconds: int, ends: int, arrivals: int) -> None:
    """Let a worker end `ends` jobs a second, and as many jobs as `arrivals` come, with news of it each second."""
    for second in range(seconds):
        told = structs.replace(holder, loads={"q": Offer(2, 1.0)})
        if arrivals:
            await desk.publish(*(f"q.{desk.clock.time():.0f}-{n}" for n in range(arrivals)))
        given = await desk.ids(holder=told, limit=ends, lease=100)
        desk.clock.advance(1)
        await desk.finish(*given)
        assert second >= 0


async def test_the_measured_speed_takes_the_place_of_the_computed_one(desk: Desk) -> None:
    await fill(desk, 300)
    await work(desk, A, seconds=20, ends=1, arrivals=0)
    found = await forecast(desk)
    assert found.ends == pytest.approx(1.0, rel=0.1), "half of what the slots and the mean run promise"
    assert found.arrivals == pytest.approx(0.0, abs=0.1)
    assert found.empty_in == pytest.approx(280, rel=0.15)


async def test_arrivals_that_exceed_the_ends_make_a_queue_grow(desk: Desk) -> None:
    await fill(desk, 100)
    await work(desk, A, seconds=20, ends=1, arrivals=4)
    found = await forecast(desk)
    assert found.arrivals == pytest.approx(4.0, rel=0.15)
    assert found.empty_in is None
    assert found.why.startswith("grows by ")


async def test_arrivals_below_the_ends_delay_the_end(desk: Desk) -> None:
    await fill(desk, 300)
    await work(desk, A, seconds=20, ends=2, arrivals=1)
    assert (await forecast(desk)).empty_in == pytest.approx(280 / 1, rel=0.25)


async def test_a_queue_that_is_asked_for_nothing_is_not_sampled(desk: Desk) -> None:
    await desk.claim(holder=structs.replace(A, loads={"p": Offer(1, 1.0), "q": Offer(1, 1.0)}), demand={"p": 1, "q": 0})
    assert set(await desk.store.stats([])) <= {"p"}


async def test_a_full_queue_of_which_no_job_has_ended_tells_its_speed(desk: Desk) -> None:
    await desk.declare("q", max_depth=20)
    await fill(desk, 20)
    await desk.claim(holder=TWO, limit=2)
    (full,) = await desk.publish("q.more")
    assert isinstance(full, Full)
    assert full.retry_after == pytest.approx(20 / 10 / 2)
    assert full.every == pytest.approx(0.5)


async def test_a_full_queue_without_a_live_worker_does_not(desk: Desk) -> None:
    await desk.declare("q", max_depth=20)
    await fill(desk, 20)
    await desk.claim(holder=TWO, limit=2, lease=5)
    desk.clock.advance(6)
    assert await desk.publish("q.more") == [Full(60.0)]


async def test_a_key_at_its_bound_waits_for_one_job_of_it(desk: Desk) -> None:
    await desk.declare("q", per_key=Limit(max_depth=2))
    await desk.publish("q.1", "q.2", key="a")
    await desk.publish("q.3", "q.4", key="b")
    await desk.claim(holder=TWO, limit=2)
    (full,) = await desk.publish("q.5", key="a")
    assert isinstance(full, Full)
    assert full.bound == "per_key.max_depth"
    assert full.retry_after == pytest.approx(1.0)
    assert full.every == pytest.approx(1.0)


class TestMaxWait:
    """Two slots, jobs of a second: of the jobs that wait two begin in a second."""

    async def begin(self, desk: Desk, jobs: int) -> None:
        await fill(desk, jobs)
        await desk.claim(holder=TWO, limit=2)

    async def test_a_job_that_would_begin_in_time_is_accepted(self, desk: Desk) -> None:
        await self.begin(desk, 12)
        assert await desk.publish("q.in-time", max_wait=5.5) == [ACCEPTED]

    async def test_one_that_would_not_is_refused(self, desk: Desk) -> None:
        await self.begin(desk, 12)
        (full,) = await desk.publish("q.late", max_wait=3.0)
        assert isinstance(full, Full)
        assert full.bound == "max_wait"
        assert full.retry_after == pytest.approx((12 + 1 - 2) / 2 - 3.0)
        assert full.every == pytest.approx(0.5)
        assert await desk.state("q.late") == "unknown"
        assert (await desk.stats()).depth == 12

    async def test_no_client_is_told_to_wait_for_more_than_an_hour(self, desk: Desk) -> None:
        await fill(desk, 12)
        await desk.claim(holder=structs.replace(A, loads={"q": Offer(1, 1e5)}), limit=1)
        assert await desk.publish("q.late", max_wait=3.0) == [Full(3600.0, "max_wait", 3600.0)]
        await desk.declare("q", max_depth=12, per_key=Limit(max_depth=1))
        assert await desk.publish("q.full") == [Full(3600.0, "max_depth", 3600.0)]
        await desk.declare("q", per_key=Limit(max_depth=1))
        assert await desk.publish("q.of-a-key", "q.full", key="a") == [
            ACCEPTED,
            Full(3600.0, "per_key.max_depth", 3600.0),
        ]

    async def test_the_jobs_of_a_batch_count_for_those_behind_them(self, desk: Desk) -> None:
        await self.begin(desk, 2)
        answers = await desk.publish(*(f"q.n{n}" for n in range(5)), max_wait=1.0)
        assert [isinstance(each, Full) for each in answers] == [False, False, True, True, True]

    async def test_other_messages_of_a_batch_are_accepted(self, desk: Desk) -> None:
        await self.begin(desk, 12)
        messages = [desk.message("q.free"), desk.message("q.late", max_wait=1.0), desk.message("p.other")]
        answers = [await desk.store.publish(messages)]
        assert [isinstance(each, Full) for each in answers[0]] == [False, True, False]

    async def test_a_known_id_gets_its_usual_answer(self, desk: Desk) -> None:
        await self.begin(desk, 12)
        assert await desk.publish("q.3", max_wait=0.1) == [Exists("q.3", "id")]

    async def test_an_unknown_forecast_accepts(self, desk: Desk) -> None:
        await fill(desk, 12)
        assert await desk.publish("q.no-worker", max_wait=0.1) == [ACCEPTED]
        await desk.claim(holder=structs.replace(A, loads={"q": Offer(2)}), limit=2)
        assert await desk.publish("q.no-run-yet", max_wait=0.1) == [ACCEPTED]

    async def test_a_paused_queue_accepts(self, desk: Desk) -> None:
        await self.begin(desk, 12)
        await desk.store.apply([Pause("q", on=True)])
        assert await desk.publish("q.paused", max_wait=0.1) == [ACCEPTED]

    async def test_a_queue_that_guards_hold_in_all_workers_accepts(self, desk: Desk) -> None:
        await self.begin(desk, 12)
        assert isinstance((await desk.publish("q.late", max_wait=0.1))[0], Full)
        shut = structs.replace(A, loads={"q": Offer(0, 1.0)})
        await desk.claim(holder=shut, demand={"q": 0})
        assert (await forecast(desk)).told() == "unknown: its workers take none now"
        assert await desk.publish("q.held", max_wait=0.1) == [ACCEPTED]

    async def test_a_job_for_later_is_accepted(self, desk: Desk) -> None:
        await self.begin(desk, 12)
        assert await desk.publish("q.later", max_wait=0.1, delay=60) == [ACCEPTED]

    async def test_jobs_for_later_delay_nothing(self, desk: Desk) -> None:
        await desk.publish(*(f"q.later{n}" for n in range(50)), delay=60)
        await desk.publish("q.1", "q.2")
        await desk.claim(holder=TWO, limit=2, lease=1000)
        assert await desk.publish("q.now", max_wait=1.0) == [ACCEPTED]
        desk.clock.advance(60)
        assert isinstance((await desk.publish("q.late", max_wait=1.0))[0], Full)

    async def test_the_backlog_of_another_key_delays_a_key_no_more_than_a_turn(self, desk: Desk) -> None:
        await desk.publish(*(f"q.a{n}" for n in range(40)), key="a")
        await desk.claim(holder=TWO, limit=2)
        assert await desk.publish("q.b1", key="b", max_wait=2.0) == [ACCEPTED]
        assert isinstance((await desk.publish("q.a99", key="a", max_wait=2.0))[0], Full)

    async def test_keys_that_wait_for_a_slot_have_their_turns_too(self, desk: Desk) -> None:
        await desk.declare("q", per_key=Limit(concurrency=1))
        for key in ("a", "b"):
            await desk.publish(*(f"q.{key}{n}" for n in range(10)), key=key)
        assert await desk.ids(holder=TWO, limit=3) == ["q.a0", "q.b0"]
        (full,) = await desk.publish("q.c", key="c", max_wait=1.0)
        assert isinstance(full, Full)
        assert full.retry_after == pytest.approx((3 + 2 + 1 - 2) / 2 - 1.0)
        assert await desk.publish("q.c", key="c", max_wait=2.5) == [ACCEPTED]

    async def test_a_delivery_does_not_carry_it(self, desk: Desk) -> None:
        await desk.publish("q.1", max_wait=5.0)
        assert [each.message.max_wait for each in await desk.claim()] == [None]

    async def test_it_joins_calls_that_are_sent_together(self, desk: Desk) -> None:
        await self.begin(desk, 12)
        calls = [desk.publish(f"q.{name}", max_wait=wait) for name, wait in (("x", None), ("y", 1.0), ("z", 60.0))]
        assert [isinstance(each, Full) for (each,) in await asyncio.gather(*calls)] == [False, True, False]


async def test_clients_that_come_back_when_they_were_told_are_accepted(desk: Desk) -> None:
    """Two jobs end in a second, counted in steps of the clock: fifty clients want one of ten places at once."""
    await desk.declare("q", max_depth=10)
    line, told = Line(), structs.replace(A, loads={"q": Offer(2, 1.0)})
    await fill(desk, 10)
    running = await desk.ids(holder=told, limit=2, lease=1000)
    due = dict.fromkeys((f"q.client-{n}" for n in range(50)), 0.0)
    returned = accepted = 0
    for second in range(60):
        for id in [id for id, at in due.items() if at <= second]:
            (answer,) = line.placed([desk.message(id)], await desk.publish(id), float(second))
            returned += due[id] > 0
            if isinstance(answer, Full):
                due[id] = second + math.ceil(answer.retry_after)
            else:
                accepted += due.pop(id) > 0
        desk.clock.advance(1)
        await desk.finish(*running)
        running = await desk.ids(holder=told, limit=2, lease=1000)
    assert due == {}
    assert accepted >= 0.9 * returned


class TestPaceOfWorkersThatAreGone:
    """Workers of other queues say nothing of the speed of this one."""

    async def test_max_wait_accepts_once_the_last_worker_of_the_queue_has_ended(self, desk: Desk) -> None:
        await fill(desk, 20)
        await desk.claim(holder=structs.replace(B, loads={"p": Offer(1, 1.0)}), demand={"p": 1}, limit=1)
        await desk.claim(holder=TWO, limit=2)
        assert isinstance((await desk.publish("q.late", max_wait=1.0))[0], Full)
        await desk.store.forfeit(TWO, crashed=False)
        assert await desk.publish("q.no-worker", max_wait=1.0) == [ACCEPTED]

    async def test_max_wait_accepts_once_its_lease_has_lapsed(self, desk: Desk) -> None:
        await fill(desk, 20)
        other = structs.replace(B, loads={"p": Offer(1, 1.0)})
        await desk.claim(holder=other, demand={"p": 1}, limit=1, lease=100)
        await desk.claim(holder=TWO, limit=2, lease=5)
        desk.clock.advance(6)
        assert await desk.publish("q.no-worker", max_wait=1.0) == [ACCEPTED]

    async def test_max_wait_accepts_once_only_workers_are_left_that_take_none(self, desk: Desk) -> None:
        await fill(desk, 20)
        await desk.claim(holder=TWO, limit=2)
        await desk.claim(holder=structs.replace(B, loads={"q": Offer(0, 1.0)}), demand={"q": 0})
        assert isinstance((await desk.publish("q.late", max_wait=1.0))[0], Full)
        await desk.store.forfeit(TWO, crashed=False)
        assert await desk.publish("q.held", max_wait=1.0) == [ACCEPTED]

    async def test_a_full_queue_is_of_unknown_speed_then(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=20)
        await fill(desk, 20)
        await desk.finish(*await desk.ids(holder=TWO, limit=2))
        await desk.publish("q.x", "q.y")
        await desk.store.forfeit(TWO, crashed=False)
        desk.clock.advance(90)
        assert await desk.publish("q.more") == [Full(60.0)]


async def test_jobs_of_a_key_for_later_delay_the_key_nothing(desk: Desk) -> None:
    await desk.publish(*(f"q.later{n}" for n in range(40)), key="b", delay=600)
    await desk.publish(*(f"q.a{n}" for n in range(40)), key="a")
    await desk.claim(holder=TWO, limit=2)
    assert await desk.publish("q.b1", key="b", max_wait=2.0) == [ACCEPTED]
