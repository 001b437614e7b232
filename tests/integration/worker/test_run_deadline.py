"""Inside a run the deadline of guarded calls is the timeout of the run."""

from __future__ import annotations

import asyncio

from outlast import CallNext, Context, Guard, GuardTimeout, Outlast, deadline, remaining
from tests.support.working import working


def close(left: float | None, timeout: float) -> bool:
    return left is not None and timeout - 30 < left <= timeout


async def test_the_timeout_of_a_run_is_its_deadline(app: Outlast) -> None:
    guard = Guard("payments")

    @app.job(timeout=300)
    async def on_the_loop(ctx: Context) -> bool:
        agreed = close(ctx.deadline, 300) and close(ctx.remaining, 300)
        with deadline(100):
            return agreed and close(await guard.call(remaining), 100) and close(ctx.remaining, 300)

    @app.job(timeout=200)
    def in_a_thread() -> bool:
        return close(remaining(), 200)

    @app.job(timeout=None)
    async def without() -> bool:
        return remaining() is None

    with deadline(5):  # of the task that starts the worker: no run may end with it
        async with working(app):
            jobs = [await job.enqueue() for job in (on_the_loop, in_a_thread, without)]
            assert [await job.result(timeout=30) for job in jobs] == [True] * 3


async def test_middleware_has_it_too(app: Outlast) -> None:
    seen: list[float | None] = []

    @app.middleware
    async def around(ctx: Context, call_next: CallNext) -> object:
        seen.append(remaining())
        return await call_next()

    @app.job(timeout=200)
    def plain() -> bool:
        return close(remaining(), 200)

    async with working(app):
        assert await (await plain.enqueue()).result(timeout=30)
    assert close(seen[0], 200)


async def test_a_shorter_block_in_a_run_holds(app: Outlast) -> None:
    guard = Guard("payments")

    @app.job(timeout=300)
    async def calls() -> str:
        try:
            with deadline(0.01):
                await guard.call(asyncio.sleep, 60)
        except GuardTimeout as error:
            return str(error.timeout <= 0.01)
        return "not ended"

    async with working(app):
        assert await (await calls.enqueue()).result(timeout=30) == "True"
