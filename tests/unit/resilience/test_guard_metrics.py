"""The metrics of guards say what has happened to their calls."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import Any

import pytest

from outlast import Breaker, Bulkhead, Exponential, Guard, GuardOpen, GuardTimeout, Retry
from outlast.core.errors import BulkheadFull, DeadlinePassed
from outlast.core.guards.policies import RetryBudget
from outlast.meters import meters
from outlast.resilience.deadlines import ends_at, restore
from tests.support.counts import Counted, counting, value_of
from tests.support.fake_time import FakeTime

CALLS = "outlast_guard_calls_total"


async def works() -> int:
    return 1


async def fails() -> None:
    raise ConnectionError


async def hangs() -> None:
    await asyncio.Event().wait()


def test_each_outcome_is_there_from_the_declaration_on() -> None:
    guard = Guard("declared", breaker=True)
    found = {
        each.labels[1]: each.values
        for each in meters.read()
        if each.metric.name == CALLS and each.labels[0] == "declared"
    }
    assert found == dict.fromkeys(("success", "failure", "timeout", "ignored", "open", "full", "late"), (0.0,))
    assert value_of("outlast_guard_openings_total", "declared", "calls") == 0
    assert value_of("outlast_guard_open", guard.name) == 0


async def test_calls_are_counted_by_how_they_ended() -> None:
    guard = Guard("kinds", timeout=0.01, breaker=Breaker(minimum=3, failure_rate=1.0, ignore=(KeyError,)))

    async def ignored() -> None:
        raise KeyError

    with counting(CALLS, "kinds", success=3, failure=2, timeout=1, ignored=1, open=1, late=1):
        await guard.call(works)
        guard_sync = Guard("kinds")
        assert guard_sync.call_sync(int) == 0
        async with guard:
            pass
        with pytest.raises(KeyError):
            await guard.call(ignored)
        before = ends_at(0.0)
        with pytest.raises(DeadlinePassed):
            await guard.call(works)
        restore(before)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await guard.call(fails)
        guard.hold("closed")
        with pytest.raises(GuardTimeout):
            await guard.call(hangs)
        guard.hold("open")
        with pytest.raises(GuardOpen):
            await guard.call(works)


async def test_a_call_that_is_cancelled_says_nothing_about_the_dependency() -> None:
    guard = Guard("cancelled", bulkhead=Bulkhead(1, max_wait=60))
    with counting(CALLS, "cancelled", ignored=2), counting("outlast_guard_wait_seconds", **{"cancelled": 1.0}):
        running = asyncio.create_task(guard.call(hangs))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(guard.call(works))
        await asyncio.sleep(0)
        assert value_of("outlast_guard_permits", "cancelled") == 1
        assert value_of("outlast_guard_permits_in_use", "cancelled") == 1
        assert value_of("outlast_guard_waiting_calls", "cancelled") == 1
        for each in (waiting, running):
            each.cancel()
        await asyncio.gather(waiting, running, return_exceptions=True)
    assert value_of("outlast_guard_permits_in_use", "cancelled") == 0
    assert value_of("outlast_guard_waiting_calls", "cancelled") == 0


def test_waits_last_as_long_as_they_did(time: FakeTime) -> None:
    guard = Guard("waits", bulkhead=Bulkhead(1, max_wait=60), clock=time.now)

    async def main() -> None:
        holds, may_end = asyncio.Event(), asyncio.Event()

        async def held() -> None:
            holds.set()
            await may_end.wait()

        first = asyncio.create_task(guard.call(held))
        await holds.wait()
        second = asyncio.create_task(guard.call(works))
        await asyncio.sleep(0)
        time.at += 2.5
        may_end.set()
        await asyncio.gather(first, second)

    time.run(main)
    (read,) = [
        each.values
        for each in meters.read()
        if each.labels == ("waits",) and each.metric.kind == "summary" and each.values[0]
    ]
    assert read == (1, 2.5)


async def test_calls_without_a_turn_are_full() -> None:
    guard = Guard("full", bulkhead=Bulkhead(1, max_wait=0))
    with counting(CALLS, "full", success=1, full=2):
        async with guard:
            with pytest.raises(BulkheadFull):
                await guard.call(works)
            with pytest.raises(BulkheadFull), guard:
                pass


async def test_a_call_for_which_no_thread_is_free_is_full() -> None:
    guard = Guard("threads", timeout=0.05, bulkhead=1)
    may_end = threading.Event()
    with counting(CALLS, "threads", timeout=1, full=1):
        with pytest.raises(GuardTimeout):
            await guard.call(may_end.wait)  # it keeps its permit until it returns
        with pytest.raises(BulkheadFull):
            await guard.call(int)
        may_end.set()
        threads = guard._calls._own_threads()
        assert threads is not None


@pytest.mark.parametrize("blocking", [False, True])
def test_retries_and_those_that_the_budget_refuses(time: FakeTime, *, blocking: bool) -> None:
    name = f"retries-{blocking}"
    retry = Retry(attempts=4, backoff=Exponential(base=0.001, cap=0.001))
    guard = Guard(name, retry=retry, budget=RetryBudget(floor=5), clock=time.now, idempotent=True)

    def fails_sync() -> None:
        raise ConnectionError

    attempts, retries = Counted(CALLS, name), Counted("outlast_guard_retries_total")
    refused = Counted("outlast_guard_retries_over_budget_total")
    assert value_of("outlast_guard_retry_budget", name) == 5

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await guard.call(fails)

    if blocking:
        for _ in range(3):
            with pytest.raises(ConnectionError):
                guard.call_sync(fails_sync)
    else:
        time.run(main)
    assert retries.added == {name: 5}  # 3 of the first call, 2 of the second
    assert refused.added == {name: 2}  # the next of the second, and the first of the third
    assert attempts.added == {"failure": 3 + 5}
    assert value_of("outlast_guard_retry_budget", name) == 0


def test_openings_and_how_long_they_lasted(time: FakeTime) -> None:
    guard = Guard("opens", breaker=Breaker(minimum=2, open_for=5, ramp=0), clock=time.now)
    with counting("outlast_guard_openings_total", "opens", calls=1, others=0 + 1):

        async def main() -> None:
            for _ in range(2):
                with pytest.raises(ConnectionError):
                    await guard.call(fails)
            assert value_of("outlast_guard_open", "opens") == 1
            time.at += 5
            await guard.call(works)
            assert value_of("outlast_guard_open", "opens") == 0
            _adopt(guard, time)
            assert value_of("outlast_guard_open", "opens") == 1

        time.run(main)
    (closed,) = [
        each.values
        for each in meters.read()
        if each.metric.name == "outlast_guard_open_seconds" and each.labels == ("opens",)
    ]
    assert closed == (1, 5.0)


def _adopt(guard: Guard, time: FakeTime) -> None:
    from outlast.core.guards.answers import SharedBreaker

    guard.adopt(SharedBreaker(7, open=True, since=time.now(), probe_at=time.now() + 5))


async def test_a_guard_with_keys_shows_how_many_are_open() -> None:
    guard = Guard("keys", key="host", breaker=Breaker(minimum=1, failure_rate=0.5))

    async def ask(host: str) -> None:
        raise ConnectionError

    for host in ("a", "b", "b"):
        with pytest.raises((ConnectionError, GuardOpen)):
            await guard.call(ask, host)
    assert value_of("outlast_guard_open", "keys") == 2
    assert value_of("outlast_guard_permits", "keys") is None


def test_guards_of_one_name_are_added_up_and_one_that_is_gone_is_shown_no_more() -> None:
    first, second = Guard("twice", bulkhead=3), Guard("twice", bulkhead=4)
    assert value_of("outlast_guard_permits", "twice") == 7
    del first
    gc.collect()
    assert value_of("outlast_guard_permits", "twice") == 4
    del second
    gc.collect()
    assert value_of("outlast_guard_permits", "twice") is None


async def test_a_forked_process_counts_its_own_calls() -> None:
    guard = Guard("forked", breaker=Breaker(minimum=1))
    with pytest.raises(ConnectionError):
        await guard.call(fails)
    pid = os.fork()
    if not pid:
        own: list[Any] = [value_of(CALLS, "forked", "failure"), value_of("outlast_guard_open", "forked")]
        os._exit(0 if own == [0, 0] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert value_of(CALLS, "forked", "failure") == 1


def test_calls_from_many_threads_are_all_counted() -> None:
    guard = Guard("many", breaker=Breaker(), bulkhead=100)

    def count() -> None:
        for _ in range(2000):
            guard.call_sync(int)

    with counting(CALLS, "many", success=8000):
        threads = [threading.Thread(target=count) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
