"""Jobs that must run alone share a worker with all others."""

from __future__ import annotations

from collections.abc import Callable

from outlast import Outlast
from outlast.core.decide import Outcome
from outlast.core.message import Delivery, Fence
from outlast.core.settlement import Release, Settlement
from outlast.worker.executor import SOLO_PAUSE, Executor
from outlast.worker.runs import Run


class _Cells:
    """Stands in for child processes that never end."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def start(self, run: Run, *, solo: bool, answer: Callable[[Run, Outcome | None, Settlement | None], None]) -> None:
        assert solo
        self.runs.append(run)

    def kill(self, run: Run) -> None:
        self.runs.remove(run)


async def test_jobs_that_must_run_alone_do_not_keep_the_places_of_others(app: Outlast) -> None:
    """A cohort that died twice is claimed like any other jobs, and has far fewer slots: the rest must not wait."""

    @app.job
    async def innocent() -> None:
        return

    runtime = await app.runtime()
    cells = _Cells()
    settled: list[tuple[Run, Settlement]] = []
    executor = Executor(
        runtime,
        concurrency=10,
        threads=1,
        processes=2,
        settle=lambda run, settlement: settled.append((run, settlement)),
        noted=lambda run: None,
        isolate=cells,
    )
    messages = [innocent.message() for _ in range(10)]
    before = runtime.clock.time()
    executor.accept([Delivery(each, Fence(each.id, each.queue, 1), crashes=2) for each in messages])
    assert [run.delivery.message for run in cells.runs] == messages[:2]
    assert [run.delivery.message for run, _ in settled] == messages[4:]
    for _, settlement in settled:
        assert isinstance(settlement, Release)
        assert settlement.at is not None
        assert settlement.at >= before + SOLO_PAUSE
    executor.settled(settled, frozenset())
    assert executor.demand(["default"], 0.0) == ({"default": 6}, 6)
    executor.close()
