"""Jobs that must run alone share a worker with all others."""

from __future__ import annotations

import os
from collections.abc import Callable

from outlast import Outlast
from outlast.core.decide import Outcome
from outlast.core.message import Delivery, Fence
from outlast.core.settlement import Release, Settlement
from outlast.enqueue.runtime import Runtime
from outlast.worker.budget import Budget, EndedRun
from outlast.worker.effects import EffectKeeper
from outlast.worker.executor import SOLO_PAUSE, Executor
from outlast.worker.job_map import CLAIMED, STARTED, SharedJobMap
from outlast.worker.report import Reporter
from outlast.worker.run import Run


class _Cells:
    """Stands in for child processes that never end."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def start(self, run: Run, *, solo: bool, answer: Callable[[Run, Outcome | None, Settlement | None], None]) -> None:
        assert solo
        self.runs.append(run)

    def kill(self, run: Run) -> None:
        self.runs.remove(run)


def executor_of(
    runtime: Runtime, cells: _Cells, job_map: SharedJobMap | None = None
) -> tuple[Executor, Budget, list[EndedRun]]:
    settled: list[EndedRun] = []
    budget = Budget(runtime, concurrency=10, threads=2, processes=1, job_map=job_map)
    executor = Executor(
        runtime,
        budget,
        Reporter(runtime),
        settle=lambda run, settlement: settled.append((run, settlement)),
        noted=lambda run: None,
        effects=EffectKeeper(lambda call: call(runtime.store), lambda lost: None),
        pool=cells,
    )
    return executor, budget, settled


async def test_a_job_counts_as_started_when_its_process_has_it_and_not_while_that_comes_up(app: Outlast) -> None:
    """Else the death of the worker in that time would count as a crash of a job that no code had seen yet."""

    @app.job
    async def innocent() -> None:
        return

    cells = _Cells()
    fd = SharedJobMap.create(10)
    job_map = SharedJobMap(fd, 10)
    executor, _, _ = executor_of(await app.runtime(), cells, job_map)
    message = innocent.message()
    executor.accept([Delivery(message, Fence(message.id, message.queue, 1), crashes=2)])
    assert [slot.state for slot in job_map.read()] == [CLAIMED]
    cells.runs[0].begin(executor.clock.monotonic())
    (slot,) = job_map.read()
    assert slot.state == STARTED
    assert slot.deadline > cells.runs[0].deadline
    executor.close()
    job_map.close()
    os.close(fd)


async def test_jobs_that_must_run_alone_do_not_keep_the_places_of_others(app: Outlast) -> None:
    """A cohort that died twice is claimed like any other jobs, and has far fewer slots: the rest must not wait."""

    @app.job
    async def innocent() -> None:
        return

    runtime = await app.runtime()
    cells = _Cells()
    executor, budget, settled = executor_of(runtime, cells)
    messages = [innocent.message() for _ in range(10)]
    before = runtime.clock.time()
    executor.accept([Delivery(each, Fence(each.id, each.queue, 1), crashes=2) for each in messages])
    assert [run.delivery.message for run in cells.runs] == messages[:2]
    assert [run.delivery.message for run, _ in settled] == messages[4:]
    for _, settlement in settled:
        assert isinstance(settlement, Release)
        assert settlement.at is not None
        assert settlement.at >= before + SOLO_PAUSE
    assert budget.demand(["default"]) == ({"default": 0}, 0)
    budget.begin_settling(settled)
    assert budget.demand(["default"]) == ({"default": 6}, 6)
    budget.settled(settled)
    assert budget.demand(["default"]) == ({"default": 6}, 6)
    executor.close()
