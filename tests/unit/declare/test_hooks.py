"""Middleware around runs, observers of events, and headers that travel with a job."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest

from outlast import (
    CallNext,
    ConfigurationError,
    Constant,
    Context,
    GiveUp,
    JobEnded,
    JobEnqueued,
    JobRefused,
    JobRetried,
    JobRouter,
    JobStarted,
    Outlast,
    QueueFull,
    Redacted,
    Retry,
    Snooze,
)
from outlast.core.errors import BodyTooLarge, EnqueueUnknown, InvalidArguments, StoreError, StoreUnavailable
from outlast.core.events import EVENTS, Event, JobLost, Observers, WorkerStalled
from outlast.core.settlement import UNROUTABLE, TooLarge
from outlast.settings import Settings


@pytest.fixture
def shop() -> Outlast:
    return Outlast("shop", settings=Settings(url="memory:"))


def named(name: str, log: list[str]) -> Callable[[Context, CallNext], Awaitable[Any]]:
    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        log.append(f"{name} in")
        try:
            return await call_next()
        finally:
            log.append(f"{name} out")

    return middleware


class TestMiddleware:
    async def test_the_first_is_outermost_and_a_routers_within_the_apps(self, shop: Outlast) -> None:
        log: list[str] = []
        router = JobRouter()

        @router.job
        async def job(ctx: Context, number: int) -> int:
            log.append(f"job {number}")
            return number

        @shop.job
        async def other() -> None:
            log.append("other")

        shop.include(router)
        router.middleware(named("router", log))
        shop.middleware(named("first", log))
        shop.middleware(named("second", log))
        with shop.testing() as t:
            handle = await job.enqueue(7)
            await t.drain()
            assert await handle.result() == 7
            inside = ["first in", "second in", "router in", "job 7", "router out", "second out", "first out"]
            assert log == inside
            log.clear()
            await other.enqueue()
            await t.drain()
            assert log == ["first in", "second in", "other", "second out", "first out"]

    @pytest.mark.parametrize("isolate", [None, "process"])
    async def test_it_is_on_the_loop_and_a_plain_function_in_a_thread(self, shop: Outlast, isolate: Any) -> None:
        seen: list[Any] = []

        @shop.middleware
        async def around(ctx: Context, call_next: CallNext) -> Any:
            seen.append(ctx)
            return f"<{await call_next()}>"

        made = shop.job(kind="plain")(plain) if isolate is None else shop.job(kind="plain", isolate=isolate)(plain)
        with shop.testing() as t:
            handle = await made.enqueue(7)
            await t.drain()
            assert (await handle.result()).startswith("<7 in ")
            assert "MainThread" not in await handle.result()
        assert seen[0].kind == "plain"

    async def test_what_it_raises_fails_the_run_and_what_it_returns_is_the_result(self, shop: Outlast) -> None:
        ran: list[int] = []
        snoozed: list[str] = []

        @shop.middleware
        async def gate(ctx: Context, call_next: CallNext) -> Any:
            number = ctx.arguments["number"]
            if number == 0:
                return "not today"
            if number == 1:
                raise GiveUp("never")
            if number == 2 and ctx.attempt == 1:
                raise LookupError("again")
            if number == 3 and not snoozed:
                snoozed.append(ctx.id)
                raise Snooze(0)
            return await call_next()

        @shop.job(retry=Retry(attempts=2, backoff=Constant(0)))
        async def job(number: int) -> Any:
            ran.append(number)
            return number

        with shop.testing() as t:
            handles = [await job.enqueue(number) for number in range(4)]
            await t.drain()
            records = [await handle.record() for handle in handles]
            assert await handles[0].result() == "not today"
            assert [record.state for record in records] == ["succeeded", "dead", "succeeded", "succeeded"]
            assert (records[1].reason, records[2].attempt) == ("gave-up", 2)
        assert sorted(ran) == [2, 3]
        assert len(snoozed) == 1

    async def test_it_sees_who_the_job_is_and_no_secret(self, shop: Outlast) -> None:
        seen: list[Any] = []

        @shop.middleware
        async def around(ctx: Context, call_next: CallNext) -> Any:
            seen.extend((ctx.id, ctx.queue, ctx.kind, ctx.attempt, ctx.key, dict(ctx.headers), ctx.arguments))
            return await call_next()

        @shop.job(queue="mail", key="email")
        async def job(email: str, password: Annotated[str, Redacted]) -> None: ...

        with shop.testing() as t:
            await job.with_options(id="1", headers={"request-id": "r-7"}).enqueue("a@b.c", "secret")
            await t.drain()
        masked = {"email": "a@b.c", "password": "[redacted]"}
        assert seen == ["mail.1", "mail", "job", 1, "a@b.c", {"request-id": "r-7"}, masked]

    async def test_a_direct_call_goes_without_and_its_context_knows_no_job(self, shop: Outlast) -> None:
        log: list[str] = []
        shop.middleware(named("around", log))

        @shop.job
        async def job(ctx: Context) -> list[Any]:
            return [ctx.key, ctx.headers, ctx.arguments]

        assert await job() == [None, {}, {}]
        assert log == []

    async def test_a_plain_function_may_raise_anything(self, shop: Outlast) -> None:
        shop.middleware(named("around", []))
        once = Retry(attempts=1)

        def stops() -> None:
            raise StopIteration(7)

        jobs = [shop.job(kind="here", retry=once)(stops), shop.job(kind="there", retry=once, isolate="process")(quits)]
        with shop.testing() as t:
            handles = [await job.enqueue() for job in jobs]
            await t.drain()
            said = [(await handle.record()).failures[0].message for handle in handles]
        assert said == ["coroutine raised StopIteration", "the handler raised StopIteration"]

    @pytest.mark.parametrize("wrong", [7, len, lambda ctx, call_next: call_next()])
    def test_refused(self, shop: Outlast, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match="give an 'async def' that takes"):
            shop.middleware(wrong)

    def test_an_object_will_do(self, shop: Outlast) -> None:
        class Around:
            async def __call__(self, ctx: Context, call_next: CallNext) -> Any:
                return await call_next()

        around = Around()
        assert shop.middleware(around) is around


def plain(number: int) -> str:
    return f"{number} in {threading.current_thread().name}"


def quits() -> None:
    raise StopIteration(7)


class TestHeaders:
    @pytest.mark.parametrize("wrong", [7, {"a": 1}, {1: "a"}, [("a", "b")]])
    def test_refused(self, shop: Outlast, wrong: Any) -> None:
        job = shop.job(kind="job")(plain)
        with pytest.raises(ConfigurationError, match="give a dict of text to text"):
            job.with_options(headers=wrong)

    def test_bounds(self, shop: Outlast) -> None:
        job = shop.job(kind="job")(plain)
        with pytest.raises(ConfigurationError, match="headers of 8193 characters: give at most 8192"):
            job.with_options(headers={"a": "x" * 8192})
        with pytest.raises(InvalidArguments, match="header 'a'"):
            job.with_options(headers={"a": "\ud800"})

    def test_they_are_in_the_message(self, shop: Outlast) -> None:
        job = shop.job(kind="job")(plain)
        assert job.with_options(headers={"a": "b"}).message(7).headers == {"a": "b"}
        assert job.message(7).headers is None


class TestEvents:
    async def test_each_hears_what_it_asked_for_and_nothing_else_is_made(self, shop: Outlast) -> None:
        everything: list[Event] = []
        ended: list[JobEnded] = []
        some: list[JobEnqueued | JobRetried] = []
        shop.observe(everything.append)
        shop.observe(JobEnded)(ended.append)
        shop.observe(JobEnqueued, JobRetried)(some.append)
        shop.observe(*EVENTS)(some.append)

        @shop.job
        async def last() -> None: ...

        @shop.job(retry=Retry(attempts=2, backoff=Constant(0)))
        async def job(ctx: Context) -> None:
            if ctx.attempt == 1:
                raise ValueError("once")
            ctx.enqueue(last)

        with shop.testing() as t:
            await job.with_options(id="1").enqueue()
            await job.with_options(id="1").enqueue()  # known already: nothing was enqueued
            await t.drain()
        heard = [(type(each), getattr(each, "kind", None)) for each in everything]
        of_job = [(JobEnqueued, "job"), (JobStarted, "job"), (JobRetried, "job"), (JobStarted, "job")]
        of_last = [(JobEnqueued, "last"), (JobEnded, "job"), (JobStarted, "last"), (JobEnded, "last")]
        assert heard == of_job + of_last
        assert [each.kind for each in ended] == ["job", "last"]
        assert [type(each) for each in some].count(JobEnqueued) == 4

    async def test_refusals(self, shop: Outlast, monkeypatch: pytest.MonkeyPatch) -> None:
        heard: list[Event] = []
        shop.observe(JobRefused)(heard.append)
        shop.queue("small", max_depth=1)

        @shop.job(queue="small")
        async def job(text: str = "") -> None: ...

        with shop.testing():
            runtime = await shop.runtime()
            kept = [job.message(), job.message()]
            with pytest.raises(QueueFull):
                await shop.enqueue_many(kept)

            async def too_large(messages: Any) -> Any:
                return [TooLarge(100, 10)]

            async def unroutable(messages: Any) -> Any:
                return [UNROUTABLE]

            async def away(messages: Any) -> Any:
                raise StoreUnavailable("away")

            async def silent(messages: Any) -> Any:
                raise TimeoutError

            for publish, error in (
                (too_large, BodyTooLarge),
                (unroutable, StoreError),
                (away, StoreUnavailable),
                (silent, EnqueueUnknown),
            ):
                monkeypatch.setattr(runtime.store.broker, "publish", publish)
                with pytest.raises(error):
                    await job.enqueue()
        reasons = [each.reason for each in heard if isinstance(each, JobRefused)]
        assert reasons == ["full", "too-large", "unroutable", "store", "unknown"]
        assert heard[0] == JobRefused(kept[1].id, "small", "job", "full")

    def test_observers_of_a_type(self) -> None:
        observers = Observers()
        assert not observers
        heard: list[Any] = []
        observers.add(heard.append, (JobLost,))
        assert observers
        assert list(observers.of(JobLost)) == [heard.append]
        assert list(observers.of(WorkerStalled)) == []
        observers.add(print)
        assert list(observers.of(WorkerStalled)) == [print]

    @pytest.mark.parametrize("wrong", [(5,), (JobEnded, 5), (), (print, print)])
    def test_refused(self, shop: Outlast, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match="observe"):
            shop.observe(*wrong)

    def test_async_is_refused(self, shop: Outlast) -> None:
        async def observer(event: Event) -> None: ...

        with pytest.raises(ConfigurationError, match="not async"):
            shop.observe(observer)
        with pytest.raises(ConfigurationError, match="not async"):
            shop.observe(JobEnded)(observer)
