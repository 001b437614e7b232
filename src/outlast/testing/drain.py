"""Runs due jobs, one at a time, with the worker's own executor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from outlast.core.message import Holder
from outlast.core.settlement import Note, Release
from outlast.enqueue.runtime import Runtime
from outlast.worker.budget import Budget, EndedRun
from outlast.worker.effects import EffectKeeper
from outlast.worker.executor import Executor
from outlast.worker.follow_ups import absent_ones, in_question
from outlast.worker.report import Reporter
from outlast.worker.run import Answer, Run, run_blocking
from outlast.worker.store_link import StoreLink

if TYPE_CHECKING:
    from outlast.worker.gates import Gates

__all__ = ["drain"]

_LEASE: Final = 1e9
"""Seconds: the lease must not lapse when a test moves the clock while a job runs."""


class _InThread:
    """Replaces the child processes: a job with `isolate="process"` runs in a thread of the test."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, run: Run, *, solo: bool, answer: Answer) -> None:
        async def work() -> None:
            answer(run, await asyncio.to_thread(run_blocking, run, asyncio.run), None)

        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def kill(self, run: Run) -> None:
        """Do nothing: a thread cannot be killed. Its outcome counts as stopped when it returns."""


async def drain(runtime: Runtime, *, max_runs: int) -> list[str]:
    """Run jobs until none is ready, or guards hold the rest; return their ids in order of the runs.

    Raise AssertionError after `max_runs`.
    """
    store = runtime.store
    ended: asyncio.Queue[EndedRun] = asyncio.Queue()
    budget = Budget(runtime, concurrency=100, threads=100, processes=100)
    report = Reporter(runtime)
    gates = _gates(runtime, budget)
    executor = Executor(
        runtime,
        budget,
        report,
        settle=lambda run, settlement: ended.put_nowait((run, settlement)),
        noted=lambda run: None,
        effects=EffectKeeper(lambda call: call(store), lambda lost: None),
        pool=_InThread(),
        gates=gates,
    )
    holder = Holder(f"testing-{uuid4().hex}", "testing")
    ids: list[str] = []
    try:
        if gates is not None:
            await gates.begin()
        while True:
            demand = dict.fromkeys(await store.broker.stats([]), 1)
            if gates is not None:
                await gates.look()
                demand = await gates.bounded(demand)
            deliveries = await store.broker.claim(demand, limit=1, holder=holder, lease=_LEASE, wait=0)
            if gates is not None:
                gates.claimed(demand, bool(deliveries))
            if not deliveries:
                return ids
            if len(ids) >= max_runs:
                await store.broker.settle([Release(deliveries[0].fence)])
                raise AssertionError(
                    f"drain: {max_runs} runs, and {deliveries[0].message.kind} is ready again: does it enqueue itself, "
                    "or retry without a delay? (max_runs=...)"
                )
            executor.accept(deliveries)
            run, settlement = await ended.get()
            if run.notes:
                await store.broker.save([Note(run.delivery.fence, name, value) for name, value in run.notes.items()])
            lost = await store.broker.settle([settlement])
            budget.begin_settling([(run, settlement)])
            budget.settled([(run, settlement)])
            absent = await absent_ones(store, in_question([settlement]))
            report.settled([(run, settlement)], frozenset((each.fence.id, each.fence.token) for each in lost), absent)
            ids.append(run.delivery.message.id)
    finally:
        if gates is not None:
            gates.close()
        executor.close()


def _gates(runtime: Runtime, budget: Budget) -> Gates | None:
    """Return the gates of the queues that need guards; None when none does."""
    if not runtime.registry.needs():
        return None
    from outlast.worker.gates import gates_of

    link = StoreLink(runtime.store, runtime.clock, runtime.rng, reconnect=None, patience=_LEASE)
    return gates_of(runtime.registry, list(runtime.registry.queues), budget, link)
