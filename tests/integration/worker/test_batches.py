"""Jobs that are claimed beside a settlement start behind it, those that wait for a slot when one is free."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from msgspec import Raw, structs

from outlast import CallNext, Context, Guard, Outlast
from outlast.core.message import Delivery, Fence, Holder
from outlast.core.settlement import Finish
from outlast.enqueue.runtime import Runtime
from outlast.worker.budget import Budget, EndedRun
from outlast.worker.effects import EffectKeeper
from outlast.worker.executor import ROUNDS, Executor
from outlast.worker.report import Reporter
from tests.support.polling import until

HOLDER = Holder("a" * 32)


def executor_of(
    runtime: Runtime, *, concurrency: int = 10, threads: int = 2
) -> tuple[Executor, Budget, list[EndedRun]]:
    settled: list[EndedRun] = []
    budget = Budget(runtime, concurrency=concurrency, threads=threads, processes=1)
    executor = Executor(
        runtime,
        budget,
        Reporter(runtime),
        settle=lambda run, settlement: settled.append((run, settlement)),
        noted=lambda run: None,
        effects=EffectKeeper(lambda call: call(runtime.store), lambda lost: None),
        pool=cast(Any, None),
    )
    return executor, budget, settled


@pytest.mark.parametrize("ends", [False, True], ids=["works on", "ends at once"])
async def test_the_next_claim_waits_for_a_settlement_only_if_a_run_has_ended_at_once(app: Outlast, ends: bool) -> None:
    gate = asyncio.Event()

    @app.job
    async def holds(number: int) -> None:
        await gate.wait()

    executor, budget, settled = executor_of(await app.runtime())
    message = holds.message(1)
    if ends:
        message = structs.replace(message, args=Raw(b"{}"))  # it cannot be called with these
    budget.settling = 1  # another batch is on its way to the store
    executor.accept([Delivery(message, Fence(message.id, message.queue, 1))])
    (run,) = budget.runs
    assert (run.began, budget.settles_soon()) == (False, True)
    budget.settling = 0
    for _ in range(ROUNDS + 1):
        await asyncio.wait((asyncio.ensure_future(asyncio.sleep(0)),))
    assert (run.began, bool(settled), budget.settles_soon()) == (True, ends, ends)
    assert budget.room.is_set() == (not ends)
    gate.set()
    if run.task is not None:
        await run.task
    executor.close()


@pytest.mark.parametrize("where", ["loop", "thread", "full", "middleware"])
async def test_a_job_that_waits_for_a_slot_starts_when_the_run_that_has_it_ends(app: Outlast, where: str) -> None:
    """Else it would wait until it is given back."""

    @app.job
    async def on_loop() -> None:
        await asyncio.sleep(0)

    @app.job
    def in_thread() -> None: ...

    if where == "middleware":

        @app.middleware
        async def passes(ctx: Context, call_next: CallNext) -> Any:
            return await call_next()

    first = on_loop if where == "loop" else in_thread
    second = in_thread if where in ("thread", "middleware") else on_loop
    executor, _, settled = executor_of(await app.runtime(), concurrency=1 if where == "full" else 2, threads=1)
    messages = [first.message(), second.message(), second.message()]
    executor.accept([Delivery(each, Fence(each.id, each.queue, 1)) for each in messages])
    await until(lambda: len(settled) == 3, "all have ended")
    assert [(run.delivery.message, type(settlement)) for run, settlement in settled] == [
        (each, Finish) for each in messages
    ]
    executor.close()


@pytest.mark.parametrize("where", ["loop", "thread"])
async def test_a_run_that_a_guard_refuses_says_nothing_of_how_long_runs_take(app: Outlast, where: str) -> None:
    """Else the forecast of its queue would promise thousands of jobs a second in the outage of a dependency."""
    guard = Guard("payments", breaker=True)

    async def on_loop() -> None:
        await guard.call(asyncio.sleep, 0)

    def in_thread() -> None:
        guard.call_sync(int)

    job = app.job(on_loop if where == "loop" else in_thread)
    executor, budget, settled = executor_of(await app.runtime())
    budget.loads.ended("default", 2.0)
    guard.hold("open")
    messages = [job.message() for _ in range(10)]
    executor.accept([Delivery(each, Fence(each.id, each.queue, 1)) for each in messages])
    await until(lambda: len(settled) == 10, "all were put off")
    assert {getattr(settlement, "guard", "") for _, settlement in settled} == {"payments"}
    loads = budget.holder(HOLDER, 100.0, ()).loads
    assert loads is not None
    assert loads["default"].run == 2.0
    executor.close()
