"""What becomes of a run, over each store: results, retries, timeouts, cancels, follow-ups, progress."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import threading
import time
from random import Random
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel

from outlast import Constant, Context, GiveUp, JobFailed, Outlast, Redacted, Retry, Snooze
from outlast.core.events import Event, JobEnded, JobEnqueued, JobLost, JobRetried, JobStarted
from outlast.core.message import Holder
from outlast.core.settlement import Park
from outlast.core.store.control import Cancel, Purge
from tests.support.polling import until
from tests.support.working import new_app, record, working

AT_ONCE = Retry(attempts=3, backoff=Constant(0))


async def test_an_async_handler_gets_its_arguments_and_leaves_its_result(app: Outlast) -> None:
    @app.job
    async def add(ctx: Context, a: int, b: int) -> dict[str, Any]:
        ctx.logger.debug("adding")
        return {"sum": a + b, "id": ctx.id, "attempt": ctx.attempt, "left": (ctx.remaining or 0) > 200}

    async with working(app):
        job = await add.enqueue(1, b=2)
        assert await job.result(timeout=30) == {"sum": 3, "id": job.id, "attempt": 1, "left": True}


async def test_a_plain_function_runs_in_a_thread_of_its_own_pool(app: Outlast) -> None:
    @app.job
    def where(ctx: Context) -> str:
        ctx.progress("here")
        return threading.current_thread().name

    async with working(app):
        assert (await (await where.enqueue()).result(timeout=30)).startswith("outlast-job")


async def test_a_failed_run_is_retried_and_its_failures_are_kept(app: Outlast) -> None:
    @app.job(retry=AT_ONCE)
    async def flaky(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise LookupError(f"attempt {ctx.attempt}")
        return ctx.attempt

    async with working(app):
        found = await record(app, await flaky.enqueue())
    assert (found.state, found.attempt) == ("succeeded", 3)
    assert [(each.type, each.message) for each in found.failures] == [
        ("LookupError", "attempt 1"),
        ("LookupError", "attempt 2"),
    ]
    assert "raise LookupError" in found.failures[0].traceback
    assert "executor.py" not in found.failures[0].traceback


async def test_the_last_attempt_is_dead_and_each_failure_is_one_line_without_arguments(
    app: Outlast, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job(retry=Retry(attempts=2, backoff=Constant(0)))
    async def fails(word: str) -> None:
        raise ValueError("no")

    @app.job
    async def works(word: str) -> None: ...

    with caplog.at_level(logging.INFO, "outlast.worker"):
        async with working(app):
            found = await record(app, await fails.enqueue("argument-text"))
            await record(app, await works.enqueue("argument-text"))
    assert (found.state, found.reason, found.attempt) == ("dead", "attempts", 2)
    assert [each.levelname for each in caplog.records] == ["WARNING", "ERROR"]
    assert "argument-text" not in caplog.text


async def test_give_up_ends_a_job_and_snooze_burns_no_attempt(app: Outlast) -> None:
    slept: list[int] = []

    @app.job
    async def gives_up() -> None:
        raise GiveUp("not today")

    @app.job(retry=Retry(attempts=1))
    async def snoozes(ctx: Context) -> None:
        if len(slept) < 3:
            slept.append(ctx.attempt)
            raise Snooze(0)

    async with working(app):
        gone = await record(app, await gives_up.enqueue())
        done = await record(app, await snoozes.enqueue())
    assert (gone.state, gone.reason) == ("dead", "gave-up")
    assert (done.state, slept) == ("succeeded", [1, 1, 1])


async def test_a_timeout_cancels_the_handler_which_may_clean_up(app: Outlast) -> None:
    cleaned = asyncio.Event()

    @app.job(timeout=0.2, retry=Retry(attempts=1))
    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    @app.job(timeout=30)
    async def minds_itself() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "its own timeout"
        return "none"

    async with working(app):
        found = await record(app, await hangs.enqueue())
        assert await (await minds_itself.enqueue()).result(timeout=30) == "its own timeout"
    assert (found.state, found.reason, found.failures[0].type) == ("dead", "timeout", "TimedOut")
    assert "timeout=0.2" in found.failures[0].message
    assert cleaned.is_set()


async def test_a_thread_past_its_timeout_is_settled_and_keeps_its_slot(app: Outlast) -> None:
    release = threading.Event()
    seen = threading.Event()

    @app.job(timeout=0.2, retry=Retry(attempts=1))
    def hangs() -> None:
        release.wait(60)

    @app.job
    def next_one() -> None:
        seen.set()

    try:
        async with working(app, threads=1):
            found = await record(app, await hangs.enqueue())
            assert (found.state, found.reason) == ("dead", "timeout")
            waiting = await next_one.enqueue()
            store = (await app.runtime()).store
            assert [each and each.state for each in await store.records.wait([waiting.id], 0.3)] == ["ready"]
            assert not seen.is_set()
            release.set()
            assert (await record(app, waiting)).state == "succeeded"
    finally:
        release.set()


async def test_a_running_job_is_cancelled(url: str) -> None:
    app = new_app(url, lease=0.6)
    started, ended = asyncio.Event(), asyncio.Event()

    @app.job
    async def waits() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            raise

    async with app, working(app):
        job = await waits.enqueue()
        await started.wait()
        await (await app.runtime()).store.control.apply([Cancel(job.id)])
        found = await record(app, job)
        assert (found.state, ended.is_set()) == ("cancelled", True)


async def test_a_thread_sees_that_it_is_cancelled(url: str) -> None:
    app = new_app(url, lease=0.6)
    started = threading.Event()

    @app.job
    def waits(ctx: Context) -> None:
        started.set()
        while not ctx.cancelled:
            time.sleep(0.005)
        raise InterruptedError

    async with app, working(app):
        job = await waits.enqueue()
        await asyncio.to_thread(started.wait, 30)
        await (await app.runtime()).store.control.apply([Cancel(job.id)])
        assert (await record(app, job)).state == "cancelled"


async def test_what_a_handler_raises_itself_is_a_failed_attempt_whatever_it_is(app: Outlast) -> None:
    @app.job(retry=Retry(attempts=1))
    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    @app.job(retry=Retry(attempts=1))
    async def exits() -> None:
        sys.exit(3)

    @app.job(retry=Retry(attempts=1))
    def exits_in_a_thread() -> None:
        raise KeyboardInterrupt

    @app.job
    async def lives() -> str:
        return "still here"

    async with working(app):
        for job, kind in ((cancels_itself, "CancelledError"), (exits, "SystemExit"), (exits_in_a_thread, "Keyboard")):
            found = await record(app, await job.enqueue())
            assert (found.state, found.reason) == ("dead", "attempts")
            assert found.failures[0].type.startswith(kind)
        assert await (await lives.enqueue()).result(timeout=30) == "still here"


async def test_follow_ups_come_with_success_and_are_dropped_with_a_failed_attempt(app: Outlast) -> None:
    arrived: list[str] = []

    @app.job(queue="other")
    async def follow(word: str) -> None:
        arrived.append(word)

    @app.job(retry=AT_ONCE)
    async def parent(ctx: Context) -> str:
        first = ctx.enqueue(follow, f"attempt {ctx.attempt}")
        second = await ctx.enqueue(follow.with_options(id="named"), "awaited")
        if ctx.attempt == 1:
            raise ValueError
        return f"{first.id} {second.id}"

    @app.job
    def from_a_thread(ctx: Context) -> str:
        return ctx.enqueue(follow, "thread").id

    async with working(app):
        first, second = (await (await parent.enqueue()).result(timeout=30)).split()
        assert second == "other.named"
        third = await (await from_a_thread.enqueue()).result(timeout=30)
        for job_id in (first, second, third):
            assert (await record(app, job_id)).state == "succeeded"
    assert sorted(arrived) == ["attempt 2", "awaited", "thread"]


async def test_progress_shows_while_the_job_runs_and_its_last_value_stays(app: Outlast) -> None:
    goes_on = asyncio.Event()

    @app.job
    async def steps(ctx: Context) -> None:
        ctx.progress({"done": 1})
        await goes_on.wait()
        await ctx.progress({"done": 2})

    async with working(app):
        job = await steps.enqueue()
        store = (await app.runtime()).store

        async def shown() -> bool:
            (found,) = await store.records.get([job.id])
            return found is not None and found.progress == {"done": 1}

        await until(shown, "progress is shown")
        goes_on.set()
        found = await record(app, job)
    assert found.progress == {"done": 2}


async def test_an_unknown_kind_is_parked(app: Outlast, caplog: pytest.LogCaptureFixture) -> None:
    newer = new_app("memory:")

    @newer.job(kind="from-a-newer-version")
    async def unknown() -> None: ...

    @app.job
    async def known() -> None: ...

    runtime = await app.runtime()
    message = unknown.message()
    await runtime.publish([message])
    async with working(app):
        await record(app, await known.enqueue())

        async def parked() -> bool:
            (found,) = await runtime.store.records.get([message.id])
            return found is not None and found.state == "parked"

        await until(parked, "the job is parked")
    assert "from-a-newer-version" in caplog.text


async def test_what_was_parked_runs_as_soon_as_a_worker_comes_up_that_knows_it(app: Outlast) -> None:
    @app.job(queue="mail")
    async def newer() -> int:
        return 7

    job = await newer.enqueue()
    runtime = await app.runtime()
    (given,) = await runtime.store.broker.claim({"mail": 1}, limit=1, holder=Holder("older"), lease=10.0, wait=0.0)
    await runtime.store.broker.settle([Park(given.fence, runtime.clock.time() + 1000)])
    async with working(app):
        assert await job.result(timeout=30) == 7


async def test_an_expired_job_never_starts(app: Outlast) -> None:
    ran: list[int] = []

    @app.job
    async def late(n: int) -> None:
        ran.append(n)

    job = await late.with_options(expires=0.001).enqueue(1)
    other = await late.enqueue(2)
    due = time.time() + 0.01
    await until(lambda: time.time() > due, "the time to start has passed")
    async with working(app):
        await record(app, other)
        assert (await record(app, job)).state == "expired"
    assert ran == [2]


async def test_a_superseded_run_is_stopped_and_changes_nothing(url: str) -> None:
    app = new_app(url, lease=0.6)
    told: list[Event] = []
    app.observe(told.append)
    started, stopped = asyncio.Event(), asyncio.Event()

    @app.job
    async def waits() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with app, working(app):
        job = await waits.enqueue()
        await started.wait()
        await (await app.runtime()).store.control.apply([Purge(id=job.id)])
        await asyncio.wait_for(stopped.wait(), 30)
        await until(lambda: JobLost(job.id, "default") in told, "the loss is told")
        assert (await (await app.runtime()).store.records.get([job.id])) == [None]


async def test_observers_hear_what_happened_after_it_did(app: Outlast) -> None:
    told: list[Event] = []
    app.observe(told.append)

    @app.job(retry=AT_ONCE)
    async def flaky(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError("once")

    async with working(app):
        job = await flaky.enqueue()
        await record(app, job)
    mine = [(type(each), getattr(each, "attempt", None)) for each in told if not isinstance(each, JobEnqueued)]
    assert mine == [(JobStarted, 1), (JobRetried, 1), (JobStarted, 2), (JobEnded, None)]
    assert isinstance(told[-1], JobEnded)
    assert told[-1].state == "succeeded"


async def test_a_marked_argument_is_in_no_failure_and_no_line(app: Outlast, caplog: pytest.LogCaptureFixture) -> None:
    @app.job(retry=Retry(attempts=1))
    async def pays(card: Annotated[str, Redacted]) -> None:
        raise ValueError(f"card {card} was refused")

    async with working(app):
        found = await record(app, await pays.enqueue("4111-1111-1111-1111"))
    assert found.failures[0].message == "card [redacted] was refused"
    assert "4111" not in repr(found)
    assert "4111" not in caplog.text


class Refuses:
    """A validator that lets a value pass at enqueue and quotes it at run, in an error that is no ValueError."""

    def __init__(self) -> None:
        self.awake = False

    def __call__(self, value: str) -> str:
        if self.awake:
            raise RuntimeError(f"{value} was looked up, and the lookup failed")
        return value


async def test_a_marked_argument_that_cannot_be_loaded_is_not_told(
    app: Outlast, caplog: pytest.LogCaptureFixture
) -> None:
    refuses = Refuses()

    async def pays(card: Annotated[str, AfterValidator(refuses), Redacted]) -> None: ...
    def prints(card: Annotated[str, AfterValidator(refuses), Redacted]) -> None: ...

    pays.__annotations__ = prints.__annotations__ = {"card": Annotated[str, AfterValidator(refuses), Redacted]}
    jobs = [app.job(retry=Retry(attempts=1))(handler) for handler in (pays, prints)]
    handles = [await job.enqueue("4111-1111-1111-1111") for job in jobs]
    refuses.awake = True
    async with working(app):
        found = [await record(app, handle) for handle in handles]
    assert [each.failures[0].message for each in found] == ["[redacted] was looked up, and the lookup failed"] * 2
    assert "4111" not in repr(found)
    assert "4111" not in caplog.text


async def test_a_marked_argument_of_several_lines_is_in_no_group(app: Outlast) -> None:
    @app.job(retry=Retry(attempts=1))
    async def signs(key: Annotated[str, Redacted]) -> None:
        raise ExceptionGroup(f"with {key}", [ValueError(key)])

    async with working(app):
        found = await record(app, await signs.enqueue("-----BEGIN\nMIIEvQ\n-----END"))
    assert "MIIEvQ" not in repr(found)
    assert "BEGIN" not in repr(found)


class Sulks:
    """A backoff of a user's own that fails."""

    def delay(self, attempt: int, rng: Random) -> float:
        raise RuntimeError("no idea")


async def test_a_backoff_that_fails_keeps_no_job_from_its_attempts(
    app: Outlast, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job(retry=Retry(attempts=2, backoff=Sulks()))
    async def fails(number: int) -> None:
        raise ValueError("failed")

    async with working(app):
        found = await record(app, await fails.enqueue(1))
    assert (found.state, found.reason, len(found.failures)) == ("dead", "attempts", 2)
    assert "its retry rules raised an error, the default backoff is used" in caplog.text


async def test_a_failure_that_is_no_text_is_kept_and_counts(app: Outlast) -> None:
    @app.job(retry=AT_ONCE)
    async def opens(number: int) -> None:
        raise OSError(2, "not found", "caf\udce9.pdf")

    async with working(app):
        found = await record(app, await opens.enqueue(1))
    assert (found.state, found.reason, len(found.failures)) == ("dead", "attempts", 3)


async def test_progress_is_bounded(app: Outlast) -> None:
    @app.job(retry=Retry(attempts=1))
    async def tells(ctx: Context, size: int) -> None:
        ctx.progress("x" * size)

    async with working(app):
        fine, much = [await record(app, await tells.enqueue(size)) for size in (1000, 2_000_000)]
    assert (fine.state, much.state) == ("succeeded", "dead")
    assert much.failures[0].type == "BodyTooLarge"
    assert much.progress is None


async def test_a_result_that_cannot_be_kept_ends_the_job_without_doing_it_again(url: str) -> None:
    app = new_app(url, max_body=1000)
    runs: list[str] = []

    @app.job(retry=AT_ONCE)
    async def large() -> str:
        runs.append("large")
        return "x" * 2000

    @app.job(retry=AT_ONCE)
    async def strange() -> Any:
        runs.append("strange")
        return object()

    async with app, working(app):
        for job in (large, strange):
            found = await record(app, await job.enqueue())
            assert (found.state, found.reason) == ("dead", "gave-up")
            assert "max_body" in found.failures[0].message or "no JSON form" in found.failures[0].message
        assert runs == ["large", "strange"]


async def test_a_result_that_would_be_read_changed_ends_the_job_as_dead_after_one_run(app: Outlast) -> None:
    runs: list[str] = []

    class Reading(BaseModel):
        mean: float

    @app.job(retry=AT_ONCE)
    async def nan_in_a_model() -> Any:
        runs.append("model")
        return Reading(mean=math.nan)

    @app.job(retry=AT_ONCE)
    def keys() -> dict[Any, str]:
        runs.append("keys")
        return {1: "a"}

    nan_in_a_model.handler.__annotations__["return"] = Reading
    async with working(app):
        for job, place in ((nan_in_a_model, "mean"), (keys, r"\[1\]")):
            handle = await job.enqueue()
            with pytest.raises(JobFailed, match=f"gave-up.*its result, a .*: {place}: "):
                await handle.result(timeout=30)
            found = await record(app, handle)
            assert (found.state, found.reason, len(found.failures)) == ("dead", "gave-up", 1)
    assert runs == ["model", "keys"]


async def test_plain_data_of_another_type_than_declared_is_a_result(app: Outlast) -> None:
    @app.job
    async def number() -> str:
        return 5  # type: ignore[return-value]

    async with working(app):
        assert await (await number.enqueue()).result(timeout=30) == 5  # type: ignore[comparison-overlap]


async def test_a_result_that_is_not_kept_is_not_checked(app: Outlast) -> None:
    @app.job(result_ttl=0)
    async def strange() -> object:
        return object()

    async with working(app):
        assert await (await strange.enqueue()).result(timeout=30) is None
