"""outlast.testing: what a test sees, how jobs run when it says so, and how it is told what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel

from outlast import Breaker, Constant, Context, Outlast, Redacted, Retry, Settings, Snooze
from outlast.core.guards.answers import SharedBreaker
from outlast.testing import FakeClock, Testing


class Order(BaseModel):
    id: int


shop = Outlast("shop", settings=Settings(url="sqlite:/nowhere/never-opened.db"))
ran: list[str] = []


@shop.job
async def send(ctx: Context, order_id: int, email: str = "a@b.c", token: Annotated[str, Redacted] = "") -> int:
    ran.append(f"send {order_id}")
    if order_id > 100:
        ctx.enqueue(send, order_id - 100)
    return order_id


@shop.job(isolate="process")
def double(order: Order) -> int:
    if order.id < 0:
        raise ValueError("negative")
    return order.id * 2


@shop.job(isolate="process")
async def isolated(ctx: Context) -> str:
    ctx.progress({"half": True})
    return ctx.kind


@shop.job(retry=Retry(attempts=3, backoff=Constant(60)))
async def flaky(ctx: Context) -> int:
    if ctx.attempt < 3:
        raise ConnectionError("away")
    return ctx.attempt


@shop.job(expires="5s")
async def polls() -> str:
    ran.append("polled")
    if len(ran) < 3:
        raise Snooze("1h")
    return "found"


@shop.job
async def forever(ctx: Context) -> None:
    raise Snooze(0)


class TestAssertEnqueued:
    async def test_with_some_of_the_arguments(self) -> None:
        with shop.testing() as t:
            await send.enqueue(7, token="t0p")
            await double.enqueue(Order(id=1))
            (found,) = t.assert_enqueued(send, order_id=7)
            assert (found.kind, found.queue, found.args) == ("send", "default", {"order_id": 7, "token": "t0p"})
            t.assert_enqueued(send, email="a@b.c")
            t.assert_enqueued("double", order=Order(id=1))
            assert [each.kind for each in t.enqueued()] == ["send", "double"]
            assert len(t.enqueued(double)) == 1

    async def test_says_what_was_enqueued_instead_and_shows_no_secret(self) -> None:
        with shop.testing() as t:
            await send.with_options(delay=60, id="a").enqueue(8, token="t0p")
            with pytest.raises(AssertionError) as caught:
                t.assert_enqueued(send, order_id=7, token="other")
            assert str(caught.value).splitlines() == [
                "no send job was enqueued with those values of order_id, token",
                "enqueued of send:",
                "  send(order_id=8, token='[redacted]') in 60 s  [default.a]",
            ]
            with pytest.raises(AssertionError, match=r"no double job was enqueued\nenqueued:\n  send\(order_id=8"):
                t.assert_enqueued(double)

    async def test_says_that_there_was_nothing(self) -> None:
        with shop.testing() as t, pytest.raises(AssertionError, match="no send job was enqueued\nnothing was enqueued"):
            t.assert_enqueued(send)

    async def test_a_parameter_that_is_not_there(self) -> None:
        with shop.testing() as t:
            await send.enqueue(7)
            with pytest.raises(AssertionError, match="send has no parameter 'order'"):
                t.assert_enqueued(send, order=7)

    async def test_a_long_list_is_cut(self) -> None:
        with shop.testing() as t:
            await shop.enqueue_many(send.message(number) for number in range(25))
            with pytest.raises(AssertionError, match="  and 5 more"):
                t.assert_enqueued(send, order_id=99)

    async def test_not(self) -> None:
        with shop.testing() as t:
            t.assert_not_enqueued()
            await send.enqueue(7)
            t.assert_not_enqueued(send, order_id=8)
            t.assert_not_enqueued(double)
            with pytest.raises(AssertionError, match=r"should not have been:\n  send\(order_id=7\)"):
                t.assert_not_enqueued(send)


class TestDrain:
    async def test_runs_in_order_and_what_they_enqueue(self) -> None:
        ran.clear()
        async with shop.testing() as t:
            handle = await send.enqueue(201)
            await send.with_options(priority="high").enqueue(5)
            records = await t.drain()
            assert ran == ["send 5", "send 201", "send 101", "send 1"]
            assert [record.state for record in records] == ["succeeded"] * 4
            assert [each.args["order_id"] for each in t.enqueued(send)] == [201, 5, 101, 1]
            assert await handle.result() == 201
            assert await t.drain() == []

    async def test_what_waits_runs_when_its_time_has_come(self) -> None:
        with shop.testing() as t:
            await send.with_options(delay="1h").enqueue(7)
            assert await t.drain() == []
            t.advance("1h")
            assert len(await t.drain()) == 1

    async def test_a_job_that_began_in_time_goes_on_after_a_snooze_past_its_expires(self) -> None:
        with shop.testing() as t:
            ran.clear()
            job = await polls.enqueue()
            for _ in range(3):
                await t.drain()
                t.advance("1h")
            assert (await job.status(), ran) == ("succeeded", ["polled"] * 3)

    async def test_a_retry_waits_for_the_clock_and_its_failure_is_seen(self) -> None:
        with shop.testing() as t:
            handle = await flaky.enqueue()
            (record,) = await t.drain()
            assert (record.state, record.attempt) == ("scheduled", 2)
            assert (record.failures[0].type, record.failures[0].message) == ("ConnectionError", "away")
            t.advance(60)
            await t.drain()
            t.advance(60)
            await t.drain()
            assert await handle.result() == 3

    async def test_processes_are_threads_here(self) -> None:
        with shop.testing() as t:
            good, bad, other = (
                await double.enqueue(Order(id=4)),
                await double.enqueue(Order(id=-1)),
                await isolated.enqueue(),
            )
            await t.drain()
            assert await good.result() == 8
            assert (await bad.record()).failures[0].message == "negative"
            assert await other.result() == "isolated"
            assert (await other.record()).progress == {"half": True}

    async def test_an_unknown_kind_is_parked(self) -> None:
        elsewhere = Outlast("elsewhere")
        unknown = elsewhere.job(kind="unknown")(double.handler)
        with elsewhere.testing():
            message = unknown.message(Order(id=1))
        with shop.testing() as t:
            await shop.enqueue_many([message])
            assert [record.state for record in await t.drain()] == ["parked"]
            assert t.enqueued()[0].args == {"order": {"id": 1}}

    async def test_too_many_runs(self) -> None:
        with shop.testing() as t:
            await forever.enqueue()
            with pytest.raises(AssertionError, match="drain: 10 runs, and forever is ready again"):
                await t.drain(max_runs=10)

    def test_without_a_loop(self) -> None:
        with shop.testing() as t:
            send.enqueue_sync(7)
            assert [record.kind for record in t.drain_sync()] == ["send"]


class TestSwap:
    def test_the_app_is_put_back(self) -> None:
        with shop.testing() as outer:
            send.enqueue_sync(1)
            with shop.testing() as inner:
                send.enqueue_sync(2)
            send.enqueue_sync(3)
        assert [each.args["order_id"] for each in outer.enqueued()] == [1, 3]
        assert [each.args["order_id"] for each in inner.enqueued()] == [2]
        assert shop.settings.url == "sqlite:/nowhere/never-opened.db"

    def test_the_clock_is_the_tests(self) -> None:
        with shop.testing() as t:
            assert isinstance(t.clock, FakeClock)
            assert send.message(1).enqueued_at == t.clock.time()

    def test_the_fixture(self, outlast_testing: Callable[[Outlast], Testing]) -> None:
        t = outlast_testing(shop)
        send.enqueue_sync(7)
        t.assert_enqueued(send, order_id=7)


def test_the_plugin_is_found_by_pytest_and_light(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.pluginmanager.has_plugin("outlast")


async def test_a_follow_up_that_is_not_stored_is_not_enqueued() -> None:
    shop = Outlast("follows")

    @shop.job
    async def step(n: int) -> None: ...

    @shop.job
    async def other() -> None: ...

    @shop.job
    async def parent(ctx: Context) -> None:
        ctx.enqueue(step.with_options(id="taken"), 1)
        ctx.enqueue(other.with_options(id="taken"))
        ctx.enqueue(step.with_options(id="free"), 2)
        ctx.enqueue(step.with_options(id="free"), 3)
        ctx.enqueue(step, 4)

    with shop.testing() as t:  # the clock stands: each of these has one time of acceptance
        await step.with_options(id="taken").enqueue(0)
        await parent.enqueue()
        await t.drain()
        assert [each.args["n"] for each in t.enqueued(step)] == [0, 2, 4]
        assert t.enqueued(other) == []


async def test_guards_begin_closed_and_local_in_each_block_and_are_shared_after_it(tmp_path: Path) -> None:
    app = Outlast("shop", settings=Settings(url=f"sqlite:{tmp_path}/jobs.db"))
    payments = app.guard("payments", breaker=Breaker(minimum=1, window=1))

    async def down() -> None:
        raise ConnectionError

    for _ in range(2):
        with app.testing():
            assert payments.view().state == "closed"
            with pytest.raises(ConnectionError):
                await payments.call(down)
            assert payments.view().state == "open"
    assert payments.view().state == "closed"
    assert not (tmp_path / "jobs.db").exists()
    assert await payments.call(int) == 0
    assert (tmp_path / "jobs.db").exists()  # it has read the state of all processes
    await app.close()


async def test_a_queue_that_needs_a_guard_waits_in_a_drain() -> None:
    app = Outlast("shop")
    payments = app.guard("payments", breaker=Breaker(minimum=1, window=1, open_for=3600, ramp=0))
    app.queue("charges", needs=[payments])

    @app.job(queue="charges")
    async def charge(number: int) -> None:
        await payments.call(asyncio.sleep, 0)

    @app.job(queue="mails")
    async def mail() -> None: ...

    with app.testing() as t:
        for number in range(3):
            await charge.enqueue(number)
        await mail.enqueue()
        payments.hold("open")
        assert [record.kind for record in await t.drain()] == ["mail"]
        assert payments.view().held == "open"
        payments.hold("")
        assert [record.attempt for record in await t.drain()] == [1, 1, 1]


@pytest.mark.parametrize("works", [True, False])
async def test_one_job_of_a_drain_is_the_probe_when_it_is_due(works: bool) -> None:
    app, runs = Outlast("shop"), list[int]()
    payments = app.guard("payments", breaker=Breaker(minimum=1, window=1, open_for=3600, ramp=0))
    app.queue("charges", needs=[payments])

    @app.job(queue="charges", retry=Retry(attempts=1))
    async def charge(number: int) -> None:
        runs.append(number)
        await payments.call(answers)

    async def answers() -> None:
        if not works:
            raise ConnectionError

    with app.testing() as t:
        for number in range(3):
            await charge.enqueue(number)
        payments.adopt(SharedBreaker(1, open=True, since=0.0, probe_at=0.0))
        ended = [record.state for record in await t.drain()]
        assert ended == (["succeeded"] * 3 if works else ["dead"])
        assert payments.view().state == ("closed" if works else "open")
        assert len(await t.drain()) == 0
    assert runs == ([0, 1, 2] if works else [0])
