"""The spans of runs in one worker: what is around a handler, how they end, and what leads from one trace to another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outlast import Outlast
from outlast.core.errors import JobFailed
from outlast.worker import claimer
from outlast.worker.isolation import pool
from tests.support.apps.traced_app import TARGET, exchange, jobs
from tests.support.collector import Collector, Received
from tests.support.polling import until
from tests.support.tracing import counts
from tests.support.working import record, working


@pytest.mark.parametrize("mode", ["on_loop", "in_thread", "around_thread"])
async def test_the_span_of_the_run_is_the_current_one_of_the_handler(
    mode: str, traced: Outlast, received: Collector
) -> None:
    async with working(traced, target=TARGET):
        found = await (await jobs[mode].enqueue()).result(timeout=60)
    (sent,), (run,) = received.named("send default"), received.named("process default")
    assert found == f"{run.trace} {run.id}"
    assert (run.parent, run.trace, run.kind) == (sent.id, sent.trace, "consumer")
    assert run.attributes == {
        "messaging.system": "outlast",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": sent.attributes["messaging.message.id"],
        "outlast.job.kind": mode,
        "outlast.job.attempt": 1,
        "outlast.job.outcome": "succeeded",
    }


async def test_two_runs_of_one_loop_keep_their_spans_apart(traced: Outlast, received: Collector) -> None:
    async with working(traced, target=TARGET):
        handles = [await jobs[mode].enqueue() for mode in ("on_loop", "in_thread") for _ in range(20)]
        found = [await each.result(timeout=60) for each in handles]
    runs = received.named("process default")
    assert sorted(found) == sorted(f"{each.trace} {each.id}" for each in runs)
    assert len({each.trace for each in runs}) == 40


async def test_a_failure_is_told_as_it_is_stored_without_what_is_redacted(traced: Outlast, received: Collector) -> None:
    async with working(traced, target=TARGET):
        dead = [await jobs["fails"].enqueue(how, "4000-1234-5678") for how in ("value", "give-up")]
        for each in dead:
            with pytest.raises(JobFailed):
                await each.result(timeout=60)
        snoozed = await jobs["fails"].enqueue("snooze", "4000-1234-5678")
        await received.got("process default", 4)
    ends = {
        (each.attributes["messaging.message.id"], each.attributes["outlast.job.attempt"]): each
        for each in received.named("process default")
    }
    told = {key: (each.attributes["outlast.job.outcome"], each.failed) for key, each in ends.items()}
    assert told == {
        (dead[0].id, 1): ("retried", True),
        (dead[0].id, 2): ("dead", True),
        (dead[1].id, 1): ("dead", True),
        (snoozed.id, 1): ("snoozed", False),
    }
    (name, about), *others = ends[dead[0].id, 1].events
    assert (name, others) == ("exception", [])
    assert about["exception.type"] == ends[dead[0].id, 1].attributes["error.type"] == "ValueError"
    assert about["exception.message"] == "no payment with [redacted]"
    assert "no payment with [redacted]" in about["exception.stacktrace"]
    assert not any(b"4000-1234-5678" in each.raw for each in received.spans)


async def test_each_job_of_a_fan_out_is_linked_to_the_event(traced: Outlast, received: Collector) -> None:
    async with working(traced, target=TARGET):
        result = await exchange["orders"].publish("", {"order": 7})
        for handle in result.copies.values():
            await record(traced, handle)
    (published,) = received.named("publish orders")
    runs = [*received.named("process first"), *received.named("process second")]
    assert len(runs) == 2
    assert published.kind == "producer"
    assert all(each.links == ((published.trace, published.id),) for each in runs)
    assert {(each.trace, each.parent) for each in runs} == {(published.trace, published.id)}


@pytest.mark.parametrize("kind", ["chain", "chain_at_once", "chain_with_headers", "chain_at_once_with_headers"])
async def test_jobs_that_enqueue_the_next_begin_a_trace_after_a_while_linked_to_the_last(
    kind: str, traced: Outlast, received: Collector
) -> None:
    async with working(traced, target=TARGET):
        await jobs[kind].enqueue(39)
        await received.got("process default", 40)
    traces: dict[str, list[Received]] = {}
    for each in received.named("process default"):
        traces.setdefault(each.trace, []).append(each)
    assert sorted(map(len, traces.values())) == [8, 16, 16]
    first = [each for each in received.named("process default") if not each.parent]
    known = {(each.trace, each.id) for each in received.spans}
    assert len(first) == 2
    assert all(each.links[0] in known and each.links[0][0] != each.trace for each in first)


async def test_jobs_of_a_large_call_are_traces_of_their_own(traced: Outlast, received: Collector) -> None:
    async with working(traced, target=TARGET):
        await traced.enqueue_many([jobs["noted"].message(number) for number in range(101)])
        await received.got("process default", 101)
        await traced.enqueue_many([jobs["noted"].message(number) for number in range(100)])
        await received.got("process default", 201)
    large, small = received.named("send default")
    assert [each.attributes["messaging.batch.message_count"] for each in (large, small)] == [101, 100]
    runs = received.named("process default")
    linked = [each for each in runs if each.links == ((large.trace, large.id),)]
    assert len(linked) == len({each.trace for each in linked}) == 101
    assert {each.parent for each in runs if each not in linked} == {small.id}


async def test_a_run_has_so_many_follow_ups_with_a_span_the_others_are_linked(
    traced: Outlast, received: Collector
) -> None:
    async with working(traced, target=TARGET):
        await jobs["spreads"].enqueue(103)
        await received.got("process default", 104)
    (run,) = [each for each in received.named("process default") if each.attributes["outlast.job.kind"] == "spreads"]
    created = received.named("create default")
    assert {each.parent for each in created} == {run.id}
    assert len(created) == 100
    others = [each for each in received.named("process default") if each.links == ((run.trace, run.id),)]
    assert len(others) == 3
    assert all(not each.parent and each.trace != run.trace for each in others)


async def test_a_context_that_a_caller_gives_is_kept(traced: Outlast, received: Collector) -> None:
    given = f"00-{'a' * 32}-{'b' * 16}-01"
    async with working(traced, target=TARGET):
        await record(traced, await jobs["noted"].with_options(headers={"traceparent": given}).enqueue(1))
        broken = await jobs["noted"].with_options(headers={"traceparent": "00-nonsense"}).enqueue(2)
        await record(traced, broken)
    (run,) = [each for each in received.named("process default") if each.trace == "a" * 32]
    assert (run.parent, run.links) == ("b" * 16, (("a" * 32, "b" * 16),))
    (other,) = [each for each in received.named("process default") if each.trace != "a" * 32]
    assert (other.parent, other.links) == ("", ())
    assert {each.kind for each in received.named("send default")} == {"client"}


async def test_headers_without_room_stay_as_they_are(traced: Outlast, received: Collector) -> None:
    """A job must not be refused, by a relay of the spool for example, for what tracing adds."""
    async with working(traced, target=TARGET):
        await record(traced, await jobs["noted"].with_options(headers={"x": "y" * 8150}).enqueue(1))
        await record(traced, await jobs["noted"].with_options(headers={"x": "y" * 8100}).enqueue(2))
    (sent, other), runs = received.named("send default"), received.named("process default")
    assert [each.parent for each in runs] == ["", other.id]
    assert sent.trace != runs[0].trace


async def test_a_worker_without_jobs_makes_no_span(
    traced: Outlast, received: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = 0
    step = claimer.Claimer.step

    async def counted(self: claimer.Claimer, *, wait: float) -> int:
        nonlocal rounds
        rounds += 1
        return await step(self, wait=0.0)

    monkeypatch.setattr(claimer.Claimer, "step", counted)
    before = counts()
    async with working(traced, target=TARGET):
        await until(lambda: rounds > 500, "500 rounds")
    assert counts() == before
    assert received.spans == []


async def test_an_unsampled_caller_has_unsampled_jobs(traced: Outlast, received: Collector) -> None:
    given = f"00-{'a' * 32}-{'b' * 16}-00"
    async with working(traced, target=TARGET):
        await record(traced, await jobs["chain"].with_options(headers={"traceparent": given}).enqueue(1))
        await record(traced, await jobs["noted"].enqueue(1))
    (run,) = received.named("process default")
    assert run.attributes["outlast.job.kind"] == "noted"
    assert not received.named("create default")


class TestIsolated:
    @pytest.fixture
    def url(self, tmp_path: Any) -> str:
        return f"sqlite:{tmp_path}/jobs.db"

    async def test_fifty_jobs_with_a_new_child_each_are_fifty_spans_with_all_below(
        self, traced: Outlast, received: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pool, "JOBS_EACH", 1)
        before = counts()
        async with working(traced, target=TARGET):
            handles = [await jobs["works"].enqueue(number) for number in range(50)]
            pids = [await each.result(timeout=200) for each in handles]
            await received.got("process default", 100)  # each has a follow-up
        assert len(set(pids)) == 50
        spans = {each.id: each for each in received.spans}
        runs = [each for each in spans.values() if each.attributes.get("outlast.job.kind") == "works"]
        runs = [each for each in runs if each.name == "process default"]
        inner = received.named("inner")
        assert len(runs) == len(inner) == 50
        assert {each.parent for each in inner} == {each.id for each in runs}
        assert all(each.trace == spans[each.parent].trace for each in inner)
        assert sorted(each.attributes["number"] for each in inner) == list(range(50))
        assert all(each.attributes["list"] == [1, 2] for each in inner)
        created = received.named("create default")
        assert {each.parent for each in created} == {each.id for each in inner}
        follow_ups = [each for each in received.named("process default") if each not in runs]
        assert {each.parent for each in follow_ups} == {each.id for each in created}
        assert len({each.trace for each in runs}) == 50
        after = counts()
        assert after["ended"] - before["ended"] == after["exported"] - before["exported"] == len(received.spans) == 250

    async def test_a_child_process_that_makes_spans_is_used_again(self, traced: Outlast, received: Collector) -> None:
        """What makes its spans leaves nothing in it that the next run must not find."""
        async with working(traced, target=TARGET, processes=1):
            pids = [await (await jobs["works"].enqueue(number)).result(timeout=60) for number in range(5)]
        assert len(set(pids)) == 1
        assert len({each.id for each in received.named("inner")}) == 5

    async def test_the_span_of_a_run_outlives_its_process_with_what_had_ended(
        self, traced: Outlast, received: Collector
    ) -> None:
        async with working(traced, target=TARGET):
            for name in ("dies", "slow"):
                with pytest.raises(JobFailed):
                    await (await jobs[name].enqueue()).result(timeout=120)
        runs = [each for each in received.named("process default") if each.attributes["outlast.job.kind"] == "dies"]
        assert [each.attributes["outlast.job.outcome"] for each in runs][-1] == "dead"
        assert {each.parent for each in received.named("before")} == {each.id for each in runs}
        (late,) = [each for each in received.named("process default") if each.attributes["outlast.job.kind"] == "slow"]
        assert (late.failed, late.attributes["error.type"]) == (True, "TimedOut")


class TestDrain:
    async def test_a_collector_that_does_not_answer_ends_no_worker_late_and_what_is_lost_is_counted(
        self, traced: Outlast, received: Collector
    ) -> None:
        before = counts()
        received.open.clear()
        async with working(traced, target=TARGET):
            await asyncio.gather(*[(await jobs["noted"].enqueue(number)).result(timeout=60) for number in range(20)])
        after = counts()
        assert not received.spans
        assert after["ended"] - before["ended"] == after["late"] - before["late"] == 40

    async def test_a_collector_that_refuses_is_told_of_once(
        self, traced: Outlast, received: Collector, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = counts()
        received.status = 400
        async with working(traced, target=TARGET):
            for number in range(5):
                await record(traced, await jobs["noted"].enqueue(number))
            await until(lambda: counts()["failed"] - before["failed"] == 10, "all are counted")
            received.status = 200
            await record(traced, await jobs["noted"].enqueue(6))
        lines = [each.getMessage() for each in caplog.records if each.name == "outlast.tracing"]
        assert [line.partition(":")[0] for line in lines] == [
            "the collector takes no spans",
            "spans are exported again",
        ]
        assert len(received.spans) == 2
