"""max_bytes, max_age, the bounds of each key, and shedding: who is kept out, and who makes room."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from outlast.core.admission import WINDOW
from outlast.core.limits import Limit
from outlast.core.moving import Hold
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Finish, Full, Release, Reschedule, TooLarge
from outlast.core.store.control import Adjust, Cancel, Edit, Purge, Redrive, RunNow
from outlast.core.store.records import Query
from tests.support.jobs import A, B, Desk, raw


def of(size: int) -> Mapping[str, Any]:
    """Return arguments of so many bytes."""
    return {"n": "x" * (size - 8)}


class KeptOut:
    """Equals any answer that names this bound."""

    def __init__(self, bound: str) -> None:
        self.bound = bound

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Full) and other.bound == self.bound

    def __repr__(self) -> str:
        return f"Full(bound={self.bound!r})"


def full(bound: str) -> list[Any]:
    return [KeptOut(bound)]


class TestBytes:
    async def test_the_bytes_of_unfinished_jobs_are_bounded(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=100)
        assert await desk.publish("q.1", "q.2", args=of(40)) == [ACCEPTED, ACCEPTED]
        assert await desk.publish("q.3", args=of(21)) == full("max_bytes")
        assert await desk.publish("q.4", args=of(20)) == [ACCEPTED]
        stats = await desk.stats()
        assert (stats.depth, stats.bytes, stats.max_bytes) == (3, 100, 100)

    async def test_within_a_batch_too(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=100)
        answers = await desk.publish(*(f"q.{n}" for n in range(4)), args=of(30))
        assert answers == [ACCEPTED] * 3 + full("max_bytes")

    async def test_another_bound_that_begins_beside_publishes_counts_those_once(self, desk: Desk) -> None:
        each = Limit(max_bytes=100)
        await desk.declare("q", per_key=each)
        publishing = [desk.publish(f"q.{n}", key="a", args=of(20)) for n in range(3)]
        await asyncio.gather(*publishing, desk.declare("q", per_key=each, max_bytes=1000))
        assert await desk.publish("q.3", key="a", args=of(40)) == [ACCEPTED]
        assert await desk.publish("q.4", key="a", args=of(9)) == full("per_key.max_bytes")
        assert (await desk.stats()).bytes == 100

    async def test_a_job_that_is_alone_too_large_is_told_so(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=100, per_key=Limit(max_bytes=50))
        assert await desk.publish("q.1", args=of(101)) == [TooLarge(101, 100, "max_bytes")]
        assert await desk.publish("q.1", args=of(51), key="a") == [TooLarge(51, 50, "per_key.max_bytes")]
        assert await desk.publish("q.1", args=of(100)) == [ACCEPTED]
        assert await desk.publish("q.1", args=of(101)) == [Exists("q.1", "id")]

    @pytest.mark.parametrize("state", ["succeeded", "dead", "cancelled", "expired"])
    async def test_every_end_gives_them_back(self, desk: Desk, state: Any) -> None:
        await desk.declare("q", max_bytes=100)
        await desk.publish("q.1", args=of(100))
        await desk.claim()
        assert await desk.publish("q.2") == full("max_bytes")
        await desk.finish("q.1", state=state)
        assert (await desk.stats()).bytes == 0

    async def test_batches_of_ends_give_them_back_once(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=1000)
        ids = [f"q.{n}" for n in range(10)]
        await desk.publish(*ids, args=of(20))
        await desk.claim()
        await desk.finish(*ids[:5])
        await desk.finish(*ids)
        assert (await desk.stats()).bytes == 0

    async def test_results_and_retries_too(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=1000)
        await desk.publish("q.1", "q.2", args=of(20))
        await desk.claim()
        await desk.finish("q.1", result=raw([1]), result_ttl=60.0)
        await desk.settle(Reschedule(desk.fence("q.2"), desk.clock.time(), 2))
        assert (await desk.stats()).bytes == 20

    async def test_commands_move_them(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=1000)
        await desk.publish("q.1", "q.2", "q.3", args=of(20), key="a")
        await desk.do(Cancel("q.1"))
        assert (await desk.stats()).bytes == 40
        await desk.do(Redrive("q.1"))
        assert (await desk.stats()).bytes == 60
        await desk.do(Edit("q.1", raw({})))
        assert (await desk.stats()).bytes == 42
        await desk.do(RunNow("q.1"))
        await desk.do(Purge(id="q.2"))
        assert (await desk.stats()).bytes == 22
        await desk.do(Cancel("q.3"))
        await desk.do(Edit("q.3", raw({})))
        assert (await desk.stats()).bytes == 2
        await desk.do(Redrive("q.3"))
        assert (await desk.stats()).bytes == 4
        await desk.do(Purge(key="a"))
        assert (await desk.stats()).bytes == 0

    async def test_a_purged_job_that_runs_gives_them_back_once(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=1000)
        await desk.publish("q.1", "q.2", args=of(20))
        await desk.claim()
        await desk.do(Purge(id="q.1"))
        await desk.finish("q.1", "q.2")
        assert (await desk.stats()).bytes == 0

    async def test_a_flagged_job_that_lapses_gives_them_back(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=1000)
        await desk.publish("q.1", args=of(20))
        await desk.claim()
        await desk.do(Cancel("q.1"))
        await desk.lapse()
        assert (await desk.stats()).bytes == 0

    async def test_a_bound_that_is_declared_later_counts_what_is_there(self, desk: Desk) -> None:
        await desk.publish("q.1", "q.2", "q.3", args=of(20))
        assert (await desk.stats()).bytes is None
        await desk.claim(limit=1)
        await desk.finish("q.1")
        await desk.declare("q", max_bytes=59)
        assert (await desk.stats()).bytes == 40
        assert await desk.publish("q.4", args=of(20)) == full("max_bytes")
        await desk.declare("q")
        assert await desk.publish("q.4", args=of(20)) == [ACCEPTED]
        await desk.declare("q", max_bytes=1000)
        assert (await desk.stats()).bytes == 60

    @pytest.mark.parametrize("options", [{}, {"headers": {"traceparent": "00-1"}}, {"expires": 60}])
    async def test_arguments_are_counted_and_nothing_else(self, desk: Desk, options: Mapping[str, Any]) -> None:
        await desk.publish("q.first", args=of(20))
        await desk.publish("q.1", args=of(20), **options)
        await desk.publish("q.2", "q.3", args=of(20), **options)
        await desk.declare("q", max_bytes=1000)
        assert (await desk.stats()).bytes == 80
        await desk.claim()
        await desk.finish("q.first", "q.1", "q.2", "q.3")
        assert (await desk.stats()).bytes == 0

    async def test_an_operator_sets_and_takes_it(self, desk: Desk) -> None:
        await desk.publish("q.1", args=of(20))
        await desk.do(Adjust("q", {"max_bytes": 30}))
        assert await desk.publish("q.2", args=of(20)) == full("max_bytes")
        await desk.do(Adjust("q", {"max_bytes": None}))
        assert await desk.publish("q.2", args=of(20)) == [ACCEPTED]


class TestAge:
    async def test_a_line_whose_first_has_waited_too_long_is_full(self, desk: Desk) -> None:
        await desk.declare("q", max_age=60)
        await desk.publish("q.1")
        desk.clock.advance(60)
        assert await desk.publish("q.2") == [ACCEPTED]
        desk.clock.advance(0.5)
        assert await desk.publish("q.3") == full("max_age")
        await desk.claim(limit=1)
        assert await desk.publish("q.3") == [ACCEPTED]

    async def test_within_a_batch_too(self, desk: Desk) -> None:
        """One that comes in with an old date is the first of the line for those behind it."""
        await desk.declare("q", max_age=60)
        await desk.publish("q.1")
        old, new = desk.message("q.2", delay=-100), desk.message("q.3")
        assert await desk.store.publish([old, new]) == [ACCEPTED, *full("max_age")]

    async def test_one_that_is_more_urgent_may_make_the_line_young(self, desk: Desk) -> None:
        await desk.declare("q", max_age=70)
        await desk.publish("q.1", priority="low")
        desk.clock.advance(70)
        await desk.publish("q.2", priority="high")
        desk.clock.advance(1)
        assert await desk.publish("q.3") == [ACCEPTED]

    async def test_what_runs_or_is_not_due_does_not_wait(self, desk: Desk) -> None:
        await desk.declare("q", max_age=60)
        await desk.publish("q.1")
        await desk.claim(lease=1000)
        await desk.publish("q.2", delay=150)
        desk.clock.advance(100)
        assert await desk.publish("q.3", delay=500) == [ACCEPTED]

    async def test_what_came_due_waits_whether_a_claim_has_seen_it_or_not(self, desk: Desk) -> None:
        await desk.declare("q", max_age=60)
        await desk.publish("q.1", delay=100)
        desk.clock.advance(161)
        assert await desk.publish("q.2") == full("max_age")

    async def test_a_retry_waits_from_its_own_time(self, desk: Desk) -> None:
        await desk.declare("q", max_age=60)
        await desk.publish("q.1")
        await desk.claim(lease=1000)
        desk.clock.advance(100)
        await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2))
        assert await desk.publish("q.2") == [ACCEPTED]

    async def test_each_key_has_a_line_of_its_own(self, desk: Desk) -> None:
        await desk.declare("q", max_age=60)
        await desk.publish("q.1", key="a")
        desk.clock.advance(61)
        assert await desk.publish("q.2", key="a") == full("max_age")
        assert await desk.publish("q.3", key="b") == [ACCEPTED]
        assert await desk.publish("q.4") == [ACCEPTED]

    @pytest.mark.parametrize(
        ("of_queue", "of_key", "bound"),
        [(60, 30, "per_key.max_age"), (30, 60, "max_age"), (30, 30, "per_key.max_age"), (None, 30, "per_key.max_age")],
    )
    async def test_the_tighter_one_is_named(self, desk: Desk, of_queue: Any, of_key: Any, bound: str) -> None:
        await desk.declare("q", max_age=of_queue, per_key=Limit(max_age=of_key))
        await desk.publish("q.1", key="a")
        await desk.publish("q.2")
        desk.clock.advance(61)
        assert await desk.publish("q.3", key="a") == full(bound)
        assert await desk.publish("q.4") == ([ACCEPTED] if of_queue is None else full("max_age"))


class TestKeys:
    async def test_each_key_has_its_own_depth(self, desk: Desk) -> None:
        await desk.declare("q", per_key=Limit(max_depth=2))
        assert await desk.publish("q.1", "q.2", "q.3", key="a") == [ACCEPTED, ACCEPTED, *full("per_key.max_depth")]
        assert await desk.publish("q.4", key="b") == [ACCEPTED]
        assert await desk.publish("q.5", "q.6", "q.7") == [ACCEPTED] * 3

    async def test_each_key_has_its_own_bytes(self, desk: Desk) -> None:
        await desk.declare("q", per_key=Limit(max_bytes=50))
        assert await desk.publish("q.1", "q.2", "q.3", key="a", args=of(20)) == [
            ACCEPTED,
            ACCEPTED,
            *full("per_key.max_bytes"),
        ]
        assert await desk.publish("q.4", key="b", args=of(20)) == [ACCEPTED]
        assert await desk.publish("q.5", "q.6", "q.7", args=of(20)) == [ACCEPTED] * 3

    @pytest.mark.parametrize("state", ["running", "scheduled", "released", "lapsed", "held"])
    async def test_every_unfinished_job_counts(self, desk: Desk, state: str) -> None:
        await desk.declare("q", per_key=Limit(max_depth=1, max_bytes=1000))
        await desk.publish("q.1", key="a", delay=100 if state == "scheduled" else 0)
        if state in ("running", "released", "lapsed"):
            await desk.claim(holder=A)
        if state == "released":
            await desk.settle(Release(desk.fence("q.1"), desk.clock.time() + 100))
        elif state == "lapsed":
            await desk.lapse()
        elif state == "held":
            await desk.do(Hold("q.1", "a move"))
        assert await desk.publish("q.2", key="a") == full("per_key.max_depth")

    @pytest.mark.parametrize("state", ["succeeded", "dead", "cancelled", "expired"])
    async def test_every_end_makes_room(self, desk: Desk, state: Any) -> None:
        await desk.declare("q", per_key=Limit(max_depth=1, max_bytes=20))
        await desk.publish("q.1", key="a", args=of(20))
        await desk.claim()
        await desk.finish("q.1", state=state)
        assert await desk.publish("q.2", key="a", args=of(20)) == [ACCEPTED]

    async def test_commands_make_room(self, desk: Desk) -> None:
        await desk.declare("q", per_key=Limit(max_depth=1, max_bytes=20))
        await desk.publish("q.1", key="a", args=of(20))
        await desk.do(Cancel("q.1"))
        assert await desk.publish("q.2", key="a", args=of(20)) == [ACCEPTED]
        await desk.do(Purge(id="q.2"))
        assert await desk.publish("q.3", key="a", args=of(20)) == [ACCEPTED]
        await desk.do(Purge(key="a"))
        assert await desk.publish("q.4", key="a", args=of(20)) == [ACCEPTED]
        await desk.do(Edit("q.4", raw({})))
        assert await desk.publish("q.5", key="a") == full("per_key.max_depth")
        await desk.do(Adjust("q", {"per_key.max_depth": None}))
        assert await desk.publish("q.5", key="a", args=of(18)) == [ACCEPTED]
        assert await desk.publish("q.6", key="a") == full("per_key.max_bytes")

    async def test_a_bound_that_is_declared_later_counts_what_is_there(self, desk: Desk) -> None:
        await desk.publish("q.1", "q.2", key="a", args=of(20))
        await desk.declare("q", per_key=Limit(max_bytes=50))
        assert await desk.publish("q.3", key="a", args=of(20)) == full("per_key.max_bytes")
        await desk.declare("q", per_key=Limit(max_depth=3))
        assert await desk.publish("q.3", "q.4", key="a") == [ACCEPTED, *full("per_key.max_depth")]

    async def test_the_keys_bound_is_named_before_the_queues(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, per_key=Limit(max_depth=1))
        await desk.publish("q.1", key="a")
        assert await desk.publish("q.2", key="a") == full("per_key.max_depth")
        assert await desk.publish("q.2", key="b") == full("max_depth")


class TestPassing:
    async def test_follow_ups_retries_and_redrives_pass_every_bound_and_count(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=20, max_age=1, per_key=Limit(max_depth=1, max_bytes=20, max_age=1))
        await desk.publish("q.1", key="a", args=of(20))
        await desk.claim(lease=1000)
        desk.clock.advance(100)
        follow = [desk.message(f"q.{n}", key="a", args=of(15), delay=-50) for n in (2, 3)]
        await desk.settle(Finish(desk.fence("q.1"), "dead", "why", then=follow))
        await desk.do(Redrive("q.1"))
        stats = await desk.stats()
        assert (stats.depth, stats.bytes, stats.shed) == (3, 50, 0)
        await desk.claim(holder=B)
        await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2))
        assert (await desk.stats()).depth == 3
        assert await desk.publish("q.9", key="a") == full("per_key.max_depth")

    async def test_follow_ups_shed_nobody(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, on_full="shed")
        await desk.publish("q.1")
        await desk.claim()
        follow = [desk.message("q.2"), desk.message("q.3")]
        await desk.settle(Finish(desk.fence("q.1"), "succeeded", then=follow))
        assert [(await desk.state(id)) for id in ("q.2", "q.3")] == ["ready", "ready"]

    async def test_one_newcomer_makes_room_for_what_passed_the_bound(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, on_full="shed")
        await desk.publish("q.1")
        await desk.claim()
        follow = [desk.message(f"q.{n}") for n in (2, 3, 4)]
        await desk.settle(Finish(desk.fence("q.1"), "succeeded", then=follow))
        assert await desk.publish("q.5") == [Accepted(shed=("q.2", "q.3", "q.4"))]
        assert (await desk.stats()).depth == 1


class TestShedding:
    async def test_the_first_in_line_makes_room(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=2, on_full="shed")
        await desk.publish("q.1", "q.2")
        assert await desk.publish("q.3") == [Accepted(shed=("q.1",))]
        record = await desk.record("q.1")
        assert (record.state, record.reason, record.finished_at) == ("expired", "shed", desk.clock.time())
        stats = await desk.stats()
        assert (stats.depth, stats.shed, stats.drain_rate) == (2, 1, 0.0)
        assert await desk.ids() == ["q.2", "q.3"]

    async def test_within_a_batch_too(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=2, on_full="shed")
        answers = await desk.publish(*(f"q.{n}" for n in range(5)))
        assert answers == [ACCEPTED, ACCEPTED, *(Accepted(shed=(f"q.{n}",)) for n in range(3))]
        assert await desk.ids() == ["q.3", "q.4"]

    async def test_what_runs_is_never_shed(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=2, on_full="shed")
        await desk.publish("q.1", "q.2")
        await desk.claim(limit=1)
        assert await desk.publish("q.3") == [Accepted(shed=("q.2",))]
        await desk.claim(limit=1)
        assert await desk.publish("q.4") == full("max_depth")
        assert await desk.finish("q.1", "q.3") == []

    @pytest.mark.parametrize("state", ["scheduled", "held"])
    async def test_what_does_not_stand_in_line_is_not_shed(self, desk: Desk, state: str) -> None:
        await desk.declare("q", max_depth=1, on_full="shed")
        await desk.publish("q.1", delay=100)
        if state == "held":
            await desk.do(Hold("q.1", "a move"))
        assert await desk.publish("q.2") == full("max_depth")

    async def test_what_came_due_is_shed_though_no_claim_has_seen_it(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, on_full="shed")
        await desk.publish("q.1", delay=100)
        desk.clock.advance(101)
        assert await desk.publish("q.2") == [Accepted(shed=("q.1",))]

    async def test_the_least_urgent_goes_and_of_those_the_first(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=4, on_full="shed")
        await desk.publish("q.1", priority="high")
        await desk.publish("q.2")
        await desk.publish("q.3", "q.4", priority="low")
        assert await desk.publish("q.5") == [Accepted(shed=("q.3",))]
        assert await desk.publish("q.6") == [Accepted(shed=("q.4",))]
        assert await desk.publish("q.7") == [Accepted(shed=("q.2",))]
        assert await desk.publish("q.8", priority="high") == [Accepted(shed=("q.5",))]

    async def test_nobody_more_urgent_goes(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, on_full="shed")
        await desk.publish("q.1")
        assert await desk.publish("q.2", priority="low") == full("max_depth")
        assert await desk.publish("q.2", priority="high") == [Accepted(shed=("q.1",))]
        assert await desk.publish("q.3") == full("max_depth")
        assert (await desk.stats()).shed == 1

    async def test_only_the_front_of_a_line_is_looked_at(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=WINDOW + 1, on_full="shed")
        await desk.publish(*(f"q.{n}" for n in range(WINDOW)), delay=-1)
        await desk.publish("q.low", priority="low")
        assert await desk.publish("q.new") == [Accepted(shed=("q.0",))]
        await desk.claim(limit=1)
        assert await desk.publish("q.newer") == [Accepted(shed=("q.low",))]

    async def test_bytes_are_freed_until_it_fits(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=100, on_full="shed")
        await desk.publish("q.1", "q.2", "q.3", "q.4", args=of(25))
        assert await desk.publish("q.5", args=of(70)) == [Accepted(shed=("q.1", "q.2", "q.3"))]
        stats = await desk.stats()
        assert (stats.depth, stats.bytes, stats.shed) == (2, 95, 3)

    async def test_nobody_goes_when_it_would_not_do(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=100, on_full="shed")
        await desk.publish("q.1", args=of(60))
        await desk.claim()
        await desk.publish("q.2", "q.3", args=of(20))
        assert await desk.publish("q.4", args=of(50)) == full("max_bytes")
        assert [await desk.state(id) for id in ("q.2", "q.3")] == ["ready", "ready"]

    async def test_a_key_sheds_its_own(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=4, on_full="shed")
        await desk.publish("q.b", key="b")
        await desk.publish("q.1", "q.2", key="a")
        await desk.publish("q.0")
        assert await desk.publish("q.3", key="a") == [Accepted(shed=("q.1",))]
        assert await desk.publish("q.00") == [Accepted(shed=("q.0",))]
        assert await desk.publish("q.bb", key="b") == [Accepted(shed=("q.b",))]

    async def test_a_key_of_which_nobody_waits_has_one_of_the_longest_line_shed(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=6, on_full="shed")
        await desk.publish("q.b", key="b")
        await desk.publish("q.a1", "q.a2", "q.a3", key="a")
        await desk.publish("q.1", "q.2")
        assert await desk.publish("q.c", key="c") == [Accepted(shed=("q.a1",))]
        assert await desk.publish("q.d", key="d") == [Accepted(shed=("q.1",))]

    async def test_the_line_without_a_key_takes_of_the_longest_too(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=3, on_full="shed")
        await desk.publish("q.b", key="b")
        await desk.publish("q.a1", "q.a2", key="a")
        assert await desk.publish("q.1") == [Accepted(shed=("q.a1",))]
        assert await desk.publish("q.2") == [Accepted(shed=("q.1",))]

    async def test_the_line_without_a_key_is_the_longest_and_has_its_turn_last(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=6, on_full="shed")
        await desk.publish("q.b1", "q.b2", key="b")
        await desk.publish("q.1", "q.2", "q.3", "q.4")
        assert await desk.ids(limit=1) == ["q.1"]
        assert await desk.publish("q.c", key="c") == [Accepted(shed=("q.2",))]

    async def test_a_line_that_limits_hold_back_is_looked_at_first(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=6, on_full="shed", per_key=Limit(concurrency=1))
        await desk.publish("q.b1", "q.b2", key="b")
        await desk.publish("q.a1", "q.a2", "q.a3", key="a")
        await desk.publish("q.c", key="c")
        assert await desk.ids() == ["q.b1", "q.a1", "q.c"]
        assert await desk.publish("q.d", key="d") == [Accepted(shed=("q.a2",))]

    async def test_lines_without_anybody_in_them_are_passed_by(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=2, on_full="shed")
        await desk.publish("q.a", key="a")
        await desk.publish("q.b", key="b")
        await desk.do(Cancel("q.a"))
        await desk.publish("q.c", key="c")
        assert await desk.publish("q.d", key="d") == [Accepted(shed=("q.b",))]

    async def test_nobody_waits_at_all(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, on_full="shed")
        await desk.publish("q.a", key="a")
        await desk.claim()
        assert await desk.publish("q.b", key="b") == full("max_depth")
        assert await desk.publish("q.c") == full("max_depth")

    async def test_a_keys_own_bound_sheds_only_of_its_own(self, desk: Desk) -> None:
        await desk.declare("q", on_full="shed", per_key=Limit(max_depth=1))
        await desk.publish("q.a", key="a")
        await desk.publish("q.b", key="b")
        assert await desk.publish("q.a2", key="a") == [Accepted(shed=("q.a",))]
        await desk.claim()
        assert await desk.publish("q.a3", key="a") == full("per_key.max_depth")

    async def test_a_keys_own_bytes_are_freed_until_it_fits(self, desk: Desk) -> None:
        await desk.declare("q", on_full="shed", per_key=Limit(max_bytes=50))
        await desk.publish("q.1", "q.2", key="a", args=of(25))
        assert await desk.publish("q.3", key="a", args=of(50)) == [Accepted(shed=("q.1", "q.2"))]

    async def test_once_its_own_line_is_empty_another_one_gives(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=100, on_full="shed")
        await desk.publish("q.a1", "q.a2", "q.a3", key="a", args=of(25))
        await desk.publish("q.b", key="b", args=of(25))
        assert await desk.publish("q.b2", key="b", args=of(60)) == [Accepted(shed=("q.b", "q.a1", "q.a2"))]

    async def test_one_that_waited_too_long_makes_room(self, desk: Desk) -> None:
        await desk.declare("q", max_age=60, on_full="shed")
        await desk.publish("q.1", "q.2")
        desk.clock.advance(50)
        await desk.publish("q.3")
        desk.clock.advance(20)
        assert await desk.publish("q.4") == [Accepted(shed=("q.1", "q.2"))]
        assert (await desk.stats()).shed == 2
        assert await desk.ids() == ["q.3", "q.4"]

    async def test_one_newcomer_sheds_a_windowful_of_the_old_at_most(self, desk: Desk) -> None:
        await desk.declare("q", max_age=60, on_full="shed")
        await desk.publish(*(f"q.{n}" for n in range(WINDOW + 5)))
        desk.clock.advance(61)
        assert await desk.publish("q.x") == [Accepted(shed=tuple(f"q.{n}" for n in range(WINDOW)))]
        assert await desk.publish("q.y") == [Accepted(shed=tuple(f"q.{n}" for n in range(WINDOW, WINDOW + 5)))]
        assert (await desk.stats()).depth == 2

    async def test_no_one_more_urgent_is_shed_for_his_age(self, desk: Desk) -> None:
        await desk.declare("q", max_age=60, on_full="shed")
        await desk.publish("q.1", priority="high")
        desk.clock.advance(61)
        assert await desk.publish("q.2") == full("max_age")
        assert await desk.publish("q.2", priority="high") == [Accepted(shed=("q.1",))]

    async def test_age_makes_room_for_depth(self, desk: Desk) -> None:
        await desk.declare("q", max_age=60, max_depth=2, on_full="shed", per_key=Limit(max_depth=2))
        await desk.publish("q.1", "q.2", key="a")
        desk.clock.advance(61)
        assert await desk.publish("q.3", key="a") == [Accepted(shed=("q.1", "q.2"))]

    async def test_a_shed_job_is_found_by_its_reason(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, on_full="shed")
        await desk.publish("q.1", "q.2")
        await desk.publish("r.1", expires=5)
        desk.clock.advance(6)
        for reason, found in (("shed", ["q.1"]), ("expired", ["r.1"])):
            page = await desk.store.find(Query(states=("expired",), reason=reason))
            assert [record.id for record in page.records] == found

    async def test_a_shed_job_frees_its_key(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, on_full="shed")
        await desk.publish("q.1", unique="k")
        await desk.publish("q.2")
        assert await desk.publish("q.3", unique="k") == [Accepted(shed=("q.2",))]

    async def test_a_shed_job_reports_in_vain(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, on_full="shed")
        await desk.publish("q.1")
        await desk.claim(holder=A)
        await desk.lapse()
        assert await desk.publish("q.2") == [Accepted(shed=("q.1",))]
        assert [each.why for each in await desk.finish("q.1")] == ["superseded"]
        assert await desk.state("q.1") == "expired"

    async def test_a_shed_job_can_be_redriven(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, on_full="shed")
        await desk.publish("q.1", "q.2")
        assert (await desk.do(Redrive("q.1"))).ok
        assert (await desk.stats()).depth == 2
        assert await desk.state("q.1") == "ready"

    async def test_shed_records_are_within_the_cap(self, desk: Desk) -> None:
        await desk.declare("q", max_depth=1, on_full="shed", records=1)
        await desk.publish("q.1", "q.2", "q.3")
        assert [await desk.state(id) for id in ("q.1", "q.2", "q.3")] == ["unknown", "expired", "ready"]
        assert (await desk.stats()).shed == 2


class TestRetryAfter:
    async def test_it_is_a_tenth_of_what_is_there_at_the_measured_rate(self, desk: Desk) -> None:
        await desk.declare("q", max_bytes=10_000)
        ids = [f"q.{n}" for n in range(60)]
        await desk.publish(*ids)
        await desk.claim(limit=60)
        await desk.finish(*ids)
        await desk.publish(*(f"q.w{n}" for n in range(100)), args=of(100))
        (answer,) = await desk.publish("q.x", args=of(100))
        assert isinstance(answer, Full)
        assert answer.retry_after == pytest.approx(10 / 2.0)
