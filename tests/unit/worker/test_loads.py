"""What a worker tells of its slots and runs, and when it has news."""

from __future__ import annotations

import asyncio

from msgspec import structs

from outlast import Bulkhead, Guard
from outlast.core.forecast import Offer
from outlast.core.guards.permits import PermitsInUse
from outlast.core.message import Holder
from outlast.worker.loads import QueueLoads

HOLDER = Holder("a" * 32)


def test_the_first_claim_tells_the_slots() -> None:
    told = QueueLoads({"q": 4, "p": 1}).holder(HOLDER, 100.0, ())
    assert told.loads == {"q": Offer(4), "p": Offer(1)}


def test_without_news_the_holder_stays_the_same() -> None:
    loads = QueueLoads({"q": 4})
    told = loads.holder(HOLDER, 100.0, ())
    assert loads.holder(told, 500.0, ()) is told


def test_runs_are_news_after_some_seconds() -> None:
    loads = QueueLoads({"q": 4})
    told = loads.holder(HOLDER, 100.0, ())
    loads.ended("q", 2.0)
    assert loads.holder(told, 102.4, ()) is told
    assert loads.holder(told, 102.5, ()).loads == {"q": Offer(4, 2.0)}


def test_before_the_first_end_the_age_of_a_run_counts_twice() -> None:
    loads = QueueLoads({"q": 4, "p": 1})
    told = loads.holder(HOLDER, 100.0, ())
    running = [("q", 100.5), ("q", 101.0), ("q", 0.0), ("other", 1.0)]
    assert loads.holder(told, 100.9, running) is told
    told = loads.holder(told, 101.5, running)
    assert told.loads == {"q": Offer(4, 2.0), "p": Offer(1)}
    loads.ended("q", 1.25)
    assert loads.holder(told, 106.5, running).loads == {"q": Offer(4, 1.25), "p": Offer(1)}


def test_a_run_of_an_unknown_queue_is_no_news() -> None:
    loads = QueueLoads({"q": 4})
    told = loads.holder(HOLDER, 100.0, ())
    loads.ended("other", 1.0)
    assert loads.holder(told, 200.0, ()) is told


def test_the_mean_follows_many_runs() -> None:
    loads = QueueLoads({"q": 4})
    for n in range(2000):
        loads.ended("q", 0.1 if n % 2 else 0.9)
    told = loads.holder(HOLDER, 100.0, ()).loads
    assert told is not None
    assert abs(told["q"].run - 0.5) < 0.02


def test_a_run_that_was_put_off_is_taken_back_once() -> None:
    loads = QueueLoads({"q": 4})
    loads.put_off("q")
    loads.put_off("other")
    loads.ended("q", 2.0)
    loads.ended("q", 0.0001)
    loads.put_off("q")
    loads.put_off("q")
    assert loads.holder(HOLDER, 100.0, ()).loads == {"q": Offer(4, 2.0)}
    loads.ended("q", 4.0)
    assert loads.holder(HOLDER, 200.0, ()).loads == {"q": Offer(4, 3.0)}


def test_a_queue_that_guards_hold_has_no_slots_at_once() -> None:
    loads = QueueLoads({"q": 4, "p": 1})
    told = loads.holder(HOLDER, 100.0, ())
    shut = loads.holder(told, 100.1, (), ["q"])
    assert shut.loads == {"q": Offer(0), "p": Offer(1)}
    assert loads.holder(shut, 100.2, (), ["q"]) is shut
    assert loads.holder(shut, 100.2, ()).loads == told.loads


def test_permits_in_use_are_told_with_one_queue_that_is_claimed_from() -> None:
    busy, idle = Guard("busy", bulkhead=Bulkhead(2)), Guard("idle", bulkhead=1)
    keyed, none = Guard("keyed", bulkhead=1, key="host"), Guard("none", breaker=True)
    loads = QueueLoads({"p": 1, "q": 4}, [busy, idle, keyed, none])
    loads.claims_from(["other", "q"])
    with busy:
        told = loads.holder(structs.replace(HOLDER, label="host:7"), 100.0, ())
    permits = (PermitsInUse("busy", "host:7", used=1, of=2, waiting=0),)
    assert told.loads == {"p": Offer(1), "q": Offer(4, 0.0, permits)}


async def test_callers_that_begin_to_wait_for_a_permit_are_news_and_a_permit_in_use_is_none() -> None:
    guard = Guard("busy", bulkhead=Bulkhead(1, max_wait=60))
    loads = QueueLoads({"q": 4}, [guard])
    told = loads.holder(HOLDER, 100.0, ())
    go = asyncio.Event()
    calls = [asyncio.create_task(guard.call(go.wait))]
    await asyncio.sleep(0)
    assert loads.holder(told, 103.0, ()) is told
    calls.append(asyncio.create_task(guard.call(go.wait)))
    await asyncio.sleep(0)
    assert loads.holder(told, 102.0, ()) is told  # not each second
    after = loads.holder(told, 103.0, ())
    assert after.loads == {"q": Offer(4, 0.0, (PermitsInUse("busy", "", used=1, of=1, waiting=1),))}
    assert loads.holder(after, 200.0, ()) is after
    go.set()
    await asyncio.gather(*calls)
    assert loads.holder(after, 203.0, ()).loads == {"q": Offer(4)}
