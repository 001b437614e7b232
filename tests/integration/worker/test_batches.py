"""Jobs that are claimed beside a settlement start behind it, and the next claim waits only for runs that have ended."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from msgspec import Raw, structs

from outlast import Outlast
from outlast.core.message import Delivery, Fence
from outlast.worker.budget import Budget, EndedRun
from outlast.worker.executor import ROUNDS, Executor
from outlast.worker.report import Reporter


@pytest.mark.parametrize("ends", [False, True], ids=["works on", "ends at once"])
async def test_the_next_claim_waits_for_a_settlement_only_if_a_run_has_ended_at_once(app: Outlast, ends: bool) -> None:
    gate = asyncio.Event()

    @app.job
    async def holds(number: int) -> None:
        await gate.wait()

    runtime = await app.runtime()
    budget = Budget(runtime, concurrency=10, threads=2, processes=1)
    settled: list[EndedRun] = []
    executor = Executor(
        runtime,
        budget,
        Reporter(runtime),
        settle=lambda run, settlement: settled.append((run, settlement)),
        noted=lambda run: None,
        pool=cast(Any, None),
    )
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
