"""ctx.once: an effect that has succeeded is not repeated by a later run of its job, over each store."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from outlast import ConfigurationError, Constant, Context, GiveUp, InvalidArguments, Outlast, Retry, Snooze, WrongThread
from outlast.core.store.control import Redrive
from tests.support.stores import namespace_of, redis_url
from tests.support.working import new_app, record, working

AT_ONCE = Retry(attempts=3, backoff=Constant(0))


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Outlast]:
    """A fresh app on each kind of store."""
    urls = {"memory": "memory:", "sqlite": f"sqlite:{tmp_path}/jobs.db"}
    if request.param == "redis":
        urls["redis"] = f"{redis_url()}?namespace={namespace_of(tmp_path)}"
    app = new_app(urls[request.param], max_body=1000)
    yield app
    await app.close()


class Charges:
    """An effect that counts."""

    def __init__(self) -> None:
        self.done: list[tuple[int, Any]] = []

    async def charge(self, order: int, *, amount: int = 1) -> dict[str, Any]:
        self.done.append((order, amount))
        return {"receipt": len(self.done), "of": (order, amount)}

    def charge_sync(self, order: int) -> int:
        self.done.append((order, threading.current_thread().name))
        return len(self.done)


async def test_a_retry_gets_the_result_and_does_not_repeat_the_effect(app: Outlast) -> None:
    charges, seen = Charges(), list[Any]()

    @app.job(retry=AT_ONCE)
    async def pay(ctx: Context, order: int) -> dict[str, Any]:
        charge = await ctx.once("charge", charges.charge, order, amount=5)
        seen.append(charge)
        if ctx.attempt < 3:
            raise LookupError("after the charge")
        return {**charge, "sent": await ctx.once("send", charges.charge, 0)}

    async with working(app):
        result = await (await pay.enqueue(7)).result(timeout=30)
    assert charges.done == [(7, 5), (0, 1)]
    assert seen == [{"receipt": 1, "of": [7, 5]}] * 3, "the same plain data in each run"
    assert result["sent"] == {"receipt": 2, "of": [0, 1]}


async def test_jobs_have_effects_of_their_own(app: Outlast) -> None:
    charges = Charges()

    @app.job
    async def pay(ctx: Context, order: int) -> None:
        await ctx.once("charge", charges.charge, order)

    async with working(app):
        for job in [await pay.enqueue(order) for order in (1, 2)]:
            await record(app, job)
    assert sorted(charges.done) == [(1, 1), (2, 1)]


async def test_an_effect_that_fails_is_tried_again_and_one_without_a_result_is_not(app: Outlast) -> None:
    calls: list[str] = []

    async def fails() -> None:
        calls.append("fails")
        if len(calls) < 3:
            raise LookupError("not yet")

    @app.job(retry=AT_ONCE)
    async def pay(ctx: Context) -> None:
        await ctx.once("first", calls.append, "first")
        assert await ctx.once("first", calls.append, "again") is None
        await ctx.once("fails", fails)

    async with working(app):
        assert (await record(app, await pay.enqueue())).state == "succeeded"
    assert calls == ["first", "fails", "fails"]


async def test_a_plain_function_does_it_in_its_thread(app: Outlast) -> None:
    charges = Charges()

    @app.job(retry=AT_ONCE)
    def pay(ctx: Context) -> int:
        found = ctx.once_sync("charge", charges.charge_sync, 7)
        if ctx.attempt == 1:
            raise LookupError
        assert isinstance(found, int)
        return found

    async with working(app):
        assert await (await pay.enqueue()).result(timeout=30) == 1
    ((order, thread),) = charges.done
    assert order == 7
    assert str(thread).startswith("outlast-job")


async def test_a_snooze_and_a_redrive_keep_it(app: Outlast) -> None:
    charges = Charges()
    dies = True

    @app.job(retry=AT_ONCE)
    async def pay(ctx: Context) -> None:
        await ctx.once("charge", charges.charge, 7)
        if not snoozed:
            snoozed.append(True)
            raise Snooze(0)
        if dies:
            raise GiveUp("never")

    snoozed: list[bool] = []
    async with working(app):
        job = await pay.enqueue()
        assert (await record(app, job)).state == "dead"
        dies = False
        await (await app.runtime()).store.control.apply([Redrive(id=job.id)])
        assert (await record(app, job)).state == "succeeded"
    assert len(charges.done) == 1


@pytest.mark.parametrize("value", [object(), "x" * 2000, {1: "a", "1": "b"}.keys], ids=["object", "large", "function"])
async def test_a_result_that_cannot_be_kept_ends_the_job_and_is_not_repeated(app: Outlast, value: object) -> None:
    calls: list[int] = []

    @app.job(retry=AT_ONCE)
    async def pay(ctx: Context) -> None:
        await ctx.once("before", calls.append, 0)

        def effect() -> object:
            calls.append(1)
            return value

        await ctx.once("charge", effect)

    async with working(app):
        job = await pay.enqueue()
        found = await record(app, job)
        assert (found.state, found.reason) == ("dead", "gave-up")
        assert "ctx.once('charge'): it was done, but its result cannot be kept" in found.failures[0].message
        await (await app.runtime()).store.control.apply([Redrive(id=job.id)])
        again = await record(app, job)
        assert "done in a run before" in again.failures[-1].message
    assert calls == [0, 1]


async def test_wrong_calls_are_refused_before_the_effect(app: Outlast) -> None:
    charges, refused = Charges(), list[str]()

    class Order(BaseModel):
        id: int

    async def within(ctx: Context) -> None:
        await ctx.once("outer", charges.charge, 7)

    @app.job
    async def pay(ctx: Context) -> None:
        for key, function in (("", charges.charge), ("k" * 201, charges.charge), (7, charges.charge), ("a", 7)):
            try:
                await ctx.once(key, function)  # type: ignore[arg-type]
            except InvalidArguments as error:
                refused.append(str(error))
        try:
            await ctx.once("outer", within, ctx)
        except ConfigurationError as error:
            refused.append(str(error))
        try:
            ctx.once_sync("charge", charges.charge_sync, 7)
        except WrongThread as error:
            refused.append(str(error))

    @app.job
    def pay_in_thread(ctx: Context) -> None:
        try:
            ctx.once_sync("charge", charges.charge, 7)
        except InvalidArguments as error:
            refused.append(str(error))

    async with working(app):
        for job in (await pay.enqueue(), await pay_in_thread.enqueue()):
            assert (await record(app, job)).state == "succeeded"
    assert len(refused) == 7
    assert charges.done == []
    assert any("running in this job already" in each for each in refused)


async def test_several_at_once_are_all_kept(app: Outlast) -> None:
    calls: list[int] = []

    @app.job(retry=AT_ONCE)
    async def pay(ctx: Context) -> list[Any]:
        async def effect(number: int) -> int:
            await asyncio.sleep(0)
            calls.append(number)
            return number

        found = await asyncio.gather(*(ctx.once(f"effect {number}", effect, number) for number in range(10)))
        if ctx.attempt == 1:
            raise LookupError
        return list(found)

    async with working(app):
        assert await (await pay.enqueue()).result(timeout=30) == list(range(10))
    assert sorted(calls) == list(range(10))


async def test_a_direct_call_does_it_once_in_that_call() -> None:
    app, charges = Outlast("tests"), Charges()

    @app.job
    async def pay(ctx: Context) -> list[Any]:
        return [await ctx.once("charge", charges.charge, 7) for _ in range(2)]

    assert await pay() == [{"receipt": 1, "of": [7, 1]}] * 2
    await pay()
    assert len(charges.done) == 2


async def test_drain_keeps_it() -> None:
    app, charges = Outlast("tests"), Charges()

    @app.job(retry=AT_ONCE)
    async def pay(ctx: Context) -> None:
        await ctx.once("charge", charges.charge, 7)
        if ctx.attempt == 1:
            raise LookupError

    with app.testing() as t:
        await pay.enqueue()
        (found,) = await t.drain()
        assert found.attempt == 2
    assert len(charges.done) == 1


DAMAGE = """
import sys, apsw
db = apsw.Connection(sys.argv[1])
db.set_busy_timeout(10_000)
db.execute("update note set value = '{' where name = 'once'").fetchall()
"""


async def test_results_that_cannot_be_read_end_the_job_and_repeat_nothing(tmp_path: Path) -> None:
    path, charges = tmp_path / "jobs.db", Charges()
    app = new_app(f"sqlite:{path}")

    @app.job(retry=AT_ONCE)
    async def pay(ctx: Context) -> None:
        if ctx.attempt > 1:  # another process: a close of the file in this one would drop the locks of the store
            await asyncio.to_thread(subprocess.run, [sys.executable, "-c", DAMAGE, str(path)], check=True)
        await ctx.once("charge", charges.charge, 7)
        raise LookupError

    async with working(app):
        found = await record(app, await pay.enqueue())
    assert (found.state, found.reason, found.attempt) == ("dead", "gave-up", 2)
    assert any("its effects cannot be read" in each.message and each.type == "GiveUp" for each in found.failures)
    assert len(charges.done) == 1
    await app.close()
