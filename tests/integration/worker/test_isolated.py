"""Handlers with isolate="process", and jobs that must run alone, in real child processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from outlast import Outlast
from outlast.core.message import Holder
from outlast.core.store.control import Cancel
from outlast.core.store.records import Query
from outlast.enqueue.handle import Handle
from tests.support.apps.isolated_app import build_jobs
from tests.support.ledger import Ledger
from tests.support.polling import until
from tests.support.working import record, working

TARGET = "tests.support.apps.isolated_app:app"


async def enqueue(name: str, *args: Any) -> Handle[Any]:
    handle: Handle[Any] = await build_jobs[name].enqueue(*args)
    return handle


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_a_warm_child_runs_plain_and_async_handlers_and_its_progress_is_kept(isolated: Outlast) -> None:
    async with working(isolated, target=TARGET, processes=1):
        first = await enqueue("pid")
        pid = await first.result(timeout=60)
        assert pid != os.getpid()
        assert await (await enqueue("sleeps_async", 0)).result(timeout=60) == pid
        found = await record(isolated, first)
        assert found.progress == "running"
        assert not gone(pid)
    await until(lambda: gone(pid), "the child ends with the worker")


async def test_the_timeout_is_the_deadline_of_guarded_calls_in_the_child(isolated: Outlast) -> None:
    async with working(isolated, target=TARGET, processes=1):
        for name, count in (("seconds_left", 2), ("seconds_left_async", 1)):
            left = await (await enqueue(name)).result(timeout=60)
            assert len(left) == count
            assert all(0 < each <= 60 for each in left)


async def test_a_large_result_comes_through(isolated: Outlast) -> None:
    async with working(isolated, target=TARGET):
        assert len(await (await enqueue("large")).result(timeout=60)) == 300_000


async def test_effects_are_not_repeated_when_the_run_fails_or_its_process_is_killed(
    isolated: Outlast, ledger: Ledger
) -> None:
    async with working(isolated, target=TARGET, processes=1):
        assert await (await enqueue("dies_after_effect")).result(timeout=60) == [1, 2]
        assert await (await enqueue("fails_after_effect")).result(timeout=60) == [3, 4, 5]
        found = await record(isolated, await enqueue("effect_is_too_large"))
    assert (found.state, found.reason) == ("dead", "gave-up")
    assert len(ledger.read("counted")) == 6


async def test_the_policy_decides_by_the_real_exception(isolated: Outlast) -> None:
    async with working(isolated, target=TARGET):
        assert await (await enqueue("fails", "lookup")).result(timeout=60) == "second"
        for word, text in (("value", "not retried"), ("give-up", "never")):
            found = await record(isolated, await enqueue("fails", word))
            assert (found.state, found.reason, found.failures[0].message) == ("dead", "gave-up", text)
            assert "isolated_app.py" in found.failures[0].traceback
        assert await (await enqueue("snoozes")).result(timeout=60) == "awake"
        left = await record(isolated, await enqueue("exits_politely"))
        assert left.result is None
        assert (left.state, left.failures[0].type, left.attempt) == ("dead", "SystemExit", 2)


async def test_a_child_opens_the_store_once_for_all_runs_that_enqueue(
    isolated: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAST_URL", isolated.settings.url)  # the app of the child process has no other setting
    async with working(isolated, target=TARGET, processes=1):
        found = [await (await enqueue("enqueues", 60)).result(timeout=60) for _ in range(3)]
        assert len({process for process, _ in found}) == 1, "a store that stays open is nothing that a run has left"
        assert [opened for _, opened in found] == [1, 1, 1]
        late = await record(isolated, await enqueue("enqueues", 0))
        assert {each.type for each in late.failures} == {"TimeoutError"}
        assert await (await enqueue("enqueues", 60)).result(timeout=60) == found[0]
        counts = await (await isolated.runtime()).store.records.count(Query(kind="pid"))
        assert sum(counts.values()) >= 4


async def test_follow_ups_are_enqueued_by_the_worker(isolated: Outlast) -> None:
    async with working(isolated, target=TARGET):
        follow_up = await (await enqueue("parent")).result(timeout=60)
        assert (await record(isolated, follow_up)).state == "succeeded"


async def test_past_its_timeout_a_child_is_killed_with_what_it_started(isolated: Outlast, ledger: Ledger) -> None:
    async with working(isolated, target=TARGET):
        found = await record(isolated, await enqueue("hangs_with_a_child"))
        assert (found.state, found.reason, found.failures[0].type) == ("dead", "timeout", "TimedOut")
        (child,) = ledger.read("child")
        await until(lambda: gone(int(child.name)) and gone(child.pid), "both are gone")


async def test_a_cancelled_child_is_killed(isolated: Outlast) -> None:
    async with working(isolated, target=TARGET):
        job = await enqueue("sleeps_async", 50)
        await until(lambda: _is(job, "running"), "the job runs")
        await (await isolated.runtime()).store.control.apply([Cancel(job.id)])
        assert (await record(isolated, job)).state == "cancelled"


async def _is(job: Handle[Any], state: str) -> bool:
    return await job.status() == state


@pytest.mark.parametrize(("how", "told"), [("signal", "SIGKILL"), ("exit", "exit code 9")])
async def test_a_child_that_dies_is_a_failed_attempt_and_its_neighbours_go_on(
    isolated: Outlast, ledger: Ledger, how: str, told: str
) -> None:
    async with working(isolated, target=TARGET):
        neighbour = await enqueue("sleeps_async", 1)
        found = await record(isolated, await enqueue("dies", how))
        assert (found.state, found.reason, found.attempt, found.crashes) == ("dead", "crash", 2, 0)
        assert told in found.failures[0].message
        assert (await record(isolated, neighbour)).attempt == 1
    assert len(ledger.read("dies")) == 2


async def test_a_stop_signal_to_everybody_does_not_end_a_child_in_mid_run(isolated: Outlast) -> None:
    async with working(isolated, target=TARGET):
        assert await (await enqueue("terminated")).result(timeout=60) == "lives"


async def crash_twice(app: Outlast, job: Handle[Any]) -> None:
    store = (await app.runtime()).store
    for number in range(2):
        holder = Holder(f"crasher-{number}")
        (delivery,) = await store.broker.claim({"default": 1}, limit=1, holder=holder, lease=60, wait=5)
        assert delivery.message.id == job.id
        await store.broker.forfeit(holder, crashed=True)


async def test_a_job_that_was_there_at_two_crashes_runs_alone_in_a_fresh_child(isolated: Outlast) -> None:
    job = await enqueue("anywhere")
    await crash_twice(isolated, job)
    async with working(isolated, target=TARGET):
        assert await job.result(timeout=60) != os.getpid()
        assert (await record(isolated, job)).state == "succeeded"


async def test_poison_is_dead_after_it_killed_the_child_it_ran_alone_in(isolated: Outlast, ledger: Ledger) -> None:
    job = await enqueue("dies", "exit")
    await crash_twice(isolated, job)
    async with working(isolated, target=TARGET):
        found = await record(isolated, job)
    assert (found.state, found.reason, len(ledger.read("dies"))) == ("dead", "poison", 1)


async def test_a_stop_gives_back_what_a_child_runs(isolated: Outlast) -> None:
    job = await enqueue("sleeps_async", 50)
    async with working(isolated, target=TARGET) as worker:
        await until(lambda: _is(job, "running"), "the job runs")
        worker.end_grace()
    (found,) = await (await isolated.runtime()).store.records.get([job.id])
    assert found is not None
    assert (found.state, found.attempt, found.crashes) == ("ready", 1, 0)
