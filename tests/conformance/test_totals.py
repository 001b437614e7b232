"""Totals: every job that ends is counted once, in the step that ends it, whichever way it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import pytest
from msgspec import structs

from outlast.core.message import Terminal
from outlast.core.moving import Adopt, Hold, Moved
from outlast.core.policy import Retention
from outlast.core.settlement import Accepted, Exists, Finish, Park, Release, Reschedule
from outlast.core.store.control import Cancel, Edit, Prune, Purge, Redrive, RunNow
from outlast.core.store.records import Query
from outlast.core.store.totals import MOST_KINDS, OTHER, OUTCOMES, Outcome
from outlast.core.topology import Queue, Topology
from outlast.core.unique import Unique
from tests.support.jobs import A, B, C, Desk, failure, raw

NEWER: Final = Unique("k", replace=True)


async def declare(desk: Desk, *kinds: str, queue: str = "q", **settings: Any) -> None:
    """Declare a queue with these kinds."""
    await desk.store.declare(Topology((Queue(name=queue, **settings),), kinds_of={queue: kinds}))


async def ended(desk: Desk, *queues: str) -> dict[tuple[str, str, Outcome], int]:
    """Return the totals that are not 0."""
    return {of: count for of, count in (await desk.store.totals(queues)).items() if count}


def q(kind: str = "send", /, **outcomes: int) -> dict[tuple[str, str, str], int]:
    """Return the totals of queue q with these numbers."""
    return {("q", kind, outcome): count for outcome, count in outcomes.items()}


async def of_records(desk: Desk) -> dict[str, int]:
    """Count the outcomes that the records tell. One that moved away has not ended here."""
    page = await desk.store.find(Query(states=("succeeded", "dead", "cancelled", "expired"), limit=1000))
    told = Counter(each.reason if each.reason in ("shed", "replaced", "moved") else each.state for each in page.records)
    del told["moved"]
    return dict(told)


async def begun(desk: Desk, *ids: str, **options: Any) -> None:
    """Publish jobs and hand them out."""
    await desk.publish(*ids, **options)
    assert await desk.ids(holder=A) == list(ids)


async def succeed_plainly(desk: Desk) -> None:
    await begun(desk, "q.1", "q.2", "q.3")
    assert await desk.finish("q.1", "q.2", kind="send") == []
    assert await desk.finish("q.3") == []


async def are_settled_again(desk: Desk) -> None:
    await begun(desk, "q.1", "q.2", "q.3")
    assert await desk.finish("q.1", kind="send") == []
    assert await desk.finish("q.1", "q.2", "q.2", kind="send") == []
    assert await desk.finish("q.1", "q.2", "q.3", "q.3") == []
    assert await desk.finish("q.3", state="dead") == []


async def are_superseded(desk: Desk) -> None:
    await begun(desk, "q.1", "q.2")
    late = [desk.fence("q.1"), desk.fence("q.2")]
    await desk.lapse()
    assert await desk.ids(holder=B, limit=1) == ["q.1"]
    assert len(await desk.settle(*(Finish(fence, "succeeded", kind="send") for fence in late))) == 1
    assert await desk.finish("q.1", result=raw(1)) == []


async def succeed_with_more(desk: Desk) -> None:
    await begun(desk, "q.1", "q.2", "q.3")
    assert await desk.finish("q.1", result=raw(1), result_ttl=9, kind="send") == []
    assert await desk.finish("q.2", error=failure()) == []
    assert await desk.finish("q.3", then=[desk.message("q.4")]) == []
    assert await desk.ids() == ["q.4"]


def ends_as(state: Terminal) -> Callable[[Desk], Awaitable[None]]:
    async def end(desk: Desk) -> None:
        await begun(desk, "q.1")
        assert await desk.finish("q.1", state=state, reason="shed", error=failure()) == []

    return end


def after_a_cancel(settlement: str) -> Callable[[Desk], Awaitable[None]]:
    async def cancel(desk: Desk) -> None:
        await begun(desk, "q.1")
        assert (await desk.do(Cancel("q.1"))).ok
        assert await ended(desk) == {}
        fence, at = desk.fence("q.1"), desk.clock.time() + 5
        match settlement:
            case "retry":
                assert await desk.settle(Reschedule(fence, at, 2, failure())) == []
            case "release":
                assert await desk.settle(Release(fence)) == []
            case "park":
                assert await desk.settle(Park(fence, at)) == []
            case "forfeit":
                assert await desk.store.forfeit(A, crashed=True) == 1
            case "lapse":
                await desk.lapse()
            case _:
                assert await desk.finish("q.1") == []

    return cancel


async def are_cancelled_as_they_wait(desk: Desk) -> None:
    await begun(desk, "q.1")
    await desk.settle(Park(desk.fence("q.1"), desk.clock.time() + 50))
    await begun(desk, "q.2")
    await desk.settle(Reschedule(desk.fence("q.2"), desk.clock.time() + 50, 2, failure()))
    await desk.publish("q.3", delay=50)
    await begun(desk, "q.4", unique="k")
    await desk.publish("q.5", unique=NEWER)
    await desk.publish("q.6", key="ann")
    for id in ("q.1", "q.2", "q.3", "q.5", "q.6"):
        assert (await desk.do(Cancel(id))).ok, id
        assert not (await desk.do(Cancel(id))).ok, id


async def are_replaced(desk: Desk) -> None:
    await desk.publish("q.1", unique="k", delay=50)
    assert await desk.publish("q.2", unique=NEWER) == [Accepted(replaced="q.1")]
    assert await desk.ids() == ["q.2"]
    await desk.publish("q.3", unique=NEWER)
    assert await desk.publish("q.4", unique=NEWER) == [Accepted(replaced="q.3")]


async def is_replaced_when_it_waits_again(desk: Desk) -> None:
    await begun(desk, "q.1", unique="k")
    await desk.publish("q.2", unique=NEWER)
    assert await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + 5, 2, failure())) == []


async def are_replaced_in_one_call(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3", unique=NEWER)


async def lets_its_key_go_when_it_is_late(desk: Desk) -> None:
    await desk.publish("q.1", unique="k", expires=5)
    desk.clock.advance(6)
    assert await desk.state("q.1") == "expired"
    assert await ended(desk) == {}  # no step has ended it yet
    await desk.publish("q.2", unique="k")


async def is_a_late_successor(desk: Desk) -> None:
    await begun(desk, "q.1", unique="k", kind="send")
    await desk.publish("q.2", unique=NEWER, expires=5)
    desk.clock.advance(6)
    assert await desk.finish("q.1") == []


async def are_shed(desk: Desk) -> None:
    await declare(desk, "send", max_depth=2, on_full="shed")
    await desk.publish("q.1", "q.2")
    assert await desk.publish("q.3", "q.4") == [Accepted(shed=("q.1",)), Accepted(shed=("q.2",))]
    assert (await desk.stats()).shed == 2


async def are_redriven(desk: Desk) -> None:
    await desk.run("q.1", state="dead")
    assert (await desk.do(Redrive("q.1"))).ok
    assert await desk.ids() == ["q.1"]
    assert await desk.finish("q.1") == []


async def move_away(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    assert (await desk.do(Hold("q.1", "a move"))).ok
    assert (await desk.do(Moved("q.1"))).ok
    answer = await desk.do(Hold("q.2", "a move"))
    assert answer.parcel is not None
    for number in ("q.3", "q.4"):
        there = structs.replace(answer.parcel, message=desk.message(number))
        assert (await desk.do(Adopt(there, "a move"))).ok
    assert (await desk.do(Moved("q.3"))).ok
    assert (await desk.do(Moved("q.2"))).ok
    assert (await desk.do(Purge(id="q.4"))).ok


async def are_only_changed(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", delay=50, expires=60)
    assert (await desk.do(Edit("q.1", args=raw({"n": 1}), priority="high"))).ok
    assert (await desk.do(RunNow("q.1"))).ok
    await desk.ids()
    assert await desk.settle(Release(desk.fence("q.1"), begun=True)) == []
    desk.clock.advance(61)
    assert await desk.store.count(Query(states=("expired",))) == {"expired": 1}
    assert (await desk.do(Redrive("q.2"))).ok  # it was late, and never ended


WAYS: Final[list[tuple[Callable[[Desk], Awaitable[None]], dict[str, int], str]]] = [
    (succeed_plainly, {"succeeded": 3}, ""),
    (are_settled_again, {"succeeded": 3}, ""),
    (are_superseded, {"succeeded": 2}, ""),
    (succeed_with_more, {"succeeded": 3}, ""),
    (ends_as("dead"), {"dead": 1}, "dies"),
    (ends_as("cancelled"), {"cancelled": 1}, "is cancelled by its run"),
    (after_a_cancel("retry"), {"cancelled": 1}, "fails after a cancel"),
    (after_a_cancel("release"), {"cancelled": 1}, "is released after a cancel"),
    (after_a_cancel("park"), {"cancelled": 1}, "is parked after a cancel"),
    (after_a_cancel("forfeit"), {"cancelled": 1}, "is forfeited after a cancel"),
    (after_a_cancel("lapse"), {"cancelled": 1}, "lapses after a cancel"),
    (after_a_cancel("finish"), {"succeeded": 1}, "succeeds after a cancel"),
    (are_cancelled_as_they_wait, {"cancelled": 5}, ""),
    (are_replaced, {"replaced": 2}, ""),
    (is_replaced_when_it_waits_again, {"replaced": 1}, ""),
    (are_replaced_in_one_call, {"replaced": 2}, ""),
    (lets_its_key_go_when_it_is_late, {"expired": 1}, ""),
    (is_a_late_successor, {"succeeded": 1, "expired": 1}, ""),
    (are_shed, {"shed": 2}, ""),
    (are_redriven, {"dead": 1, "succeeded": 1}, ""),
    (move_away, {"cancelled": 1}, ""),
    (are_only_changed, {}, ""),
]
NO_RECORD: Final = ("redriven", "move_away", "is cancelled by its run", "dies", "only_changed")
"""Of these the records tell less, or by the reason that their run gave, something else."""


@pytest.mark.parametrize(("way", "outcomes"), [(way, outcomes) for way, outcomes, _ in WAYS], ids=[
    name or way.__name__ for way, _, name in WAYS
])  # fmt: skip
async def test_each_way_to_end_is_counted_once(
    desk: Desk, way: Callable[[Desk], Awaitable[None]], outcomes: dict[str, int], request: pytest.FixtureRequest
) -> None:
    await declare(desk, "send")
    await way(desk)
    assert await ended(desk) == q(**outcomes)
    if not any(each in request.node.name for each in NO_RECORD):
        assert await of_records(desk) == outcomes
    await desk.apply(Prune())
    assert await ended(desk) == q(**outcomes)


async def late(desk: Desk) -> None:
    await desk.publish("q.1", expires=5)
    desk.clock.advance(6)


async def runs(desk: Desk) -> None:
    await begun(desk, "q.1", key="ann")


async def waits(desk: Desk) -> None:
    await desk.publish("q.1", key="ann", delay=50)


async def is_held(desk: Desk) -> None:
    await desk.publish("q.1", key="ann")
    assert (await desk.do(Hold("q.1", "a move"))).ok


async def is_dead(desk: Desk) -> None:
    await begun(desk, "q.1", key="ann")
    assert await desk.finish("q.1", state="dead") == []


async def has_succeeded(desk: Desk) -> None:
    await begun(desk, "q.1", key="ann")
    assert await desk.finish("q.1", result=raw(1)) == []


@pytest.mark.parametrize("what", [Purge(id="q.1"), Purge(queue="q"), Purge(key="ann")], ids=["id", "queue", "key"])
@pytest.mark.parametrize(
    ("before", "outcome"),
    [
        (late, "expired"),
        (runs, "cancelled"),
        (waits, "cancelled"),
        (is_held, "cancelled"),
        (is_dead, "dead"),
        (has_succeeded, "succeeded"),
    ],
)
async def test_a_purge_ends_what_has_not_ended_and_takes_nothing_back(
    desk: Desk, before: Callable[[Desk], Awaitable[None]], outcome: str, what: Purge
) -> None:
    await declare(desk, "send")
    await before(desk)
    assert (await desk.do(what)).ok
    if before is late and what.key is not None:
        assert await ended(desk) == {}  # it has no key
    elif before is runs and what.queue is not None:
        assert await ended(desk) == {}  # its holder is told to stop
        await desk.settle(Release(desk.fence("q.1")))
        assert await ended(desk) == q(cancelled=1)
    else:
        assert await ended(desk) == q(**{outcome: 1})
        if before is runs:
            assert len(await desk.finish("q.1")) == 1
            assert await ended(desk) == q(cancelled=1)


async def test_a_late_job_that_a_claim_hands_out_counts_when_its_holder_ends_it(desk: Desk) -> None:
    await declare(desk, "send")
    await late(desk)
    assert await desk.ids() == ["q.1"]
    assert await ended(desk) == {}
    assert await desk.finish("q.1", state="expired", reason="expired") == []
    assert await ended(desk) == q(expired=1)
    assert await of_records(desk) == {"expired": 1}


async def test_a_publish_of_a_known_id_ends_no_job_that_is_too_late(desk: Desk) -> None:
    await declare(desk, "send")
    await desk.run("q.1")
    await begun(desk, "q.2", unique="l")
    await desk.publish("q.3", unique=Unique("l", replace=True), expires=5)
    await desk.publish("q.4", unique="k", expires=5)
    desk.clock.advance(6)
    for unique in ("k", "l"):
        assert await desk.publish("q.1", unique=unique) == [Exists("q.1")]
    assert await ended(desk) == q(succeeded=1)
    await desk.publish("q.5", unique="k")
    assert await ended(desk) == q(succeeded=1, expired=2)


async def test_each_job_counts_under_the_name_of_its_kind_in_any_version(desk: Desk) -> None:
    await declare(desk, "send", "render")
    for n, kind in enumerate(("send", "send@2", "render@17", "render", "unknown", "send@2")):
        await desk.publish(f"q.{n}", kind=kind)
    given = {each.message.id: each for each in await desk.claim()}
    ends = [Finish(each.fence, "succeeded", kind=each.message.kind) for each in given.values()]
    assert await desk.settle(*ends[:5]) == []
    assert await desk.settle(*ends) == []
    assert await ended(desk) == q(succeeded=3) | q("render", succeeded=2) | q(OTHER, succeeded=1)


async def test_the_store_reads_the_kinds_that_a_holder_does_not_tell(desk: Desk) -> None:
    await declare(desk, "send", "render")
    for n, kind in enumerate(("send", "render@2", "unknown", "send")):
        await desk.publish(f"q.{n}", kind=kind)
    await desk.claim()
    assert await desk.finish("q.0") == []
    assert await desk.finish("q.0", "q.1", "q.2", "q.3") == []
    assert await ended(desk) == q(succeeded=2) | q("render", succeeded=1) | q(OTHER, succeeded=1)


async def test_a_declared_kind_is_there_with_each_outcome_from_the_beginning(desk: Desk) -> None:
    assert await desk.store.totals() == {}
    await declare(desk, "send", "send", OTHER)
    assert await desk.store.totals() == {("q", kind, each): 0 for kind in ("send", OTHER) for each in OUTCOMES}
    await desk.run("q.1")
    await declare(desk, "send", "render")
    assert await desk.store.totals(["q"]) == {
        ("q", kind, each): int((kind, each) == ("send", "succeeded"))
        for kind in ("send", "render", OTHER)
        for each in OUTCOMES
    }


async def test_what_was_counted_stays_when_a_kind_is_declared_no_more_or_later(desk: Desk) -> None:
    await declare(desk, "send")
    await desk.run("q.1")
    await desk.publish("q.2", kind="render")
    await desk.ids()
    await desk.finish("q.2")
    await declare(desk, "render")
    await desk.publish("q.3", kind="render")
    await desk.ids()
    await desk.finish("q.3")
    await desk.run("q.4")
    assert await ended(desk) == q(succeeded=2) | q(OTHER, succeeded=1) | q("render", succeeded=1)


async def test_a_queue_that_nobody_declared_counts_its_jobs_as_others(desk: Desk) -> None:
    await desk.run("q.1", "r.1")
    await desk.run("r.2", state="dead")
    assert await ended(desk) == q(OTHER, succeeded=1) | {("r", OTHER, "succeeded"): 1, ("r", OTHER, "dead"): 1}
    assert await ended(desk, "r", "none") == {("r", OTHER, "succeeded"): 1, ("r", OTHER, "dead"): 1}


async def test_a_kind_counts_in_the_queue_for_which_it_is_declared(desk: Desk) -> None:
    await declare(desk, "send")
    await declare(desk, "render", queue="r")
    await desk.run("q.1", "r.1")
    assert await ended(desk) == q(succeeded=1) | {("r", OTHER, "succeeded"): 1}


async def test_the_kinds_of_a_queue_are_bounded(desk: Desk) -> None:
    def names(numbers: Iterable[int]) -> list[str]:
        return [f"kind{n}" for n in numbers]

    await declare(desk, *names(range(MOST_KINDS - 1)))
    await declare(desk, *names(range(MOST_KINDS - 3, MOST_KINDS + 3)))
    found = await desk.store.totals()
    assert {kind for _, kind, _ in found} == {*names(range(MOST_KINDS)), OTHER}
    assert len(found) == (MOST_KINDS + 1) * len(OUTCOMES)


async def test_retention_takes_nothing_from_the_totals(desk: Desk) -> None:
    kept = Retention(records=1, record_ttl=5, dead_ttl=5, id_memory=5)
    await declare(desk, "send", retention=kept)
    await desk.run("q.1", "q.2", "q.3")
    await desk.run("q.4", state="dead")
    await desk.run("q.5", result=raw(1), result_ttl=5)
    desk.clock.advance(100)
    await desk.apply(Prune())
    assert await desk.store.count(Query()) == {}
    assert await ended(desk) == q(succeeded=4, dead=1)


async def test_an_end_in_another_process_is_seen_and_kept(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await declare(one, "send")
    await one.publish("q.1", "q.2")
    assert await other.ids(holder=C) == ["q.1", "q.2"]
    assert await other.finish("q.1", "q.2", kind="send") == []
    assert await ended(one) == q(succeeded=2) == await ended(other)
