"""What a supervisor reads of real workers: as many runs as the store has, through recycling, kills and the end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from outlast import Outlast, Settings
from outlast.core.message import Fence
from outlast.core.settlement import Lost
from outlast.meters import meters
from outlast.meters.metric import Reading
from outlast.supervisor import child_main
from outlast.supervisor.supervisor import Supervisor
from outlast.worker.metrics import LAPSED, OUTCOMES
from outlast.worker.slot_groups import AHEAD
from tests.support.apps.metered_app import app as declared
from tests.support.apps.metered_app import counts, dies, flaky, quick
from tests.support.polling import until
from tests.support.stage import declaring_alike
from tests.support.working import new_app, record, working

TARGET = "tests.support.apps.metered_app:app"
SLOTS = 8
BATCH = SLOTS * (1 + AHEAD)
"""The most runs that one settlement has."""


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outlast]:
    """Enqueues what the workers run."""
    url = f"sqlite:{tmp_path}/jobs.db"
    monkeypatch.setenv("OUTLAST_METERED_URL", url)
    monkeypatch.setenv("OUTLAST_METERED_MEASURE", "1")
    shop = declaring_alike(declared, Settings(url=url, enqueue_timeout=60))
    yield shop
    await shop.close()


@asynccontextmanager
async def supervising(**options: Any) -> AsyncIterator[Supervisor]:
    """Run a supervisor in this loop within the block, and stop it."""
    supervisor, stop = Supervisor(TARGET, concurrency=SLOTS, **options), asyncio.Event()
    task = asyncio.create_task(supervisor.run(stop))
    try:
        yield supervisor
    finally:
        stop.set()
        await task


def values(readings: list[Reading], name: str) -> dict[tuple[str, ...], tuple[float, ...]]:
    """What was counted of this app, by the labels after its own."""
    return {each.labels[1:]: each.values for each in readings if each.metric.name == name and "metered" in each.labels}


def total(readings: list[Reading], name: str) -> float:
    """All counts of a histogram."""
    return sum(sum(each[:-1]) for each in values(readings, name).values())


def gauges(readings: list[Reading]) -> dict[str, float]:
    """The gauges of the workers, without those of this process, which tells the states of its workers."""
    ours = [each for each in readings if each.metric.kind == "gauge" and "metered" in each.labels]
    own = [each for each in ours if each.metric.name != "outlast_worker_processes"]
    return {each.metric.name: each.values[0] for each in own}


def slots(supervisor: Supervisor) -> float:
    return values(supervisor.readings(), "outlast_worker_slots").get(("loop",), (0.0,))[0]


async def ended(shop: Outlast, ids: list[str]) -> None:
    store = (await shop.runtime()).store
    found = [each for each in await store.records.wait(ids, 90) if each is not None and each.finished_at is not None]
    assert len(found) == len(ids)


async def test_every_series_is_there_before_the_first_job(shop: Outlast) -> None:
    """Else the first failure after a start would not be a growth."""
    async with supervising(processes=1) as supervisor:
        await until(lambda: slots(supervisor) == SLOTS, "its worker is up")
        readings = supervisor.readings()
        hello = supervisor.app
    assert values(readings, "outlast_kind_runs_total") == {
        (kind, outcome): (0,) for kind in ("quick", "flaky", "dies", "counts") for outcome in OUTCOMES
    }
    assert set(values(readings, "outlast_job_wait_seconds")) == {("fast",), ("default",)}
    assert total(readings, "outlast_job_run_seconds") == 0
    assert hello is not None
    assert (hello.app, hello.objectives) == ("metered", {"fast": 2, "default": 60})
    assert hello.kinds == {"fast": ("quick", "flaky"), "default": ("dies", "counts")}
    waits = [
        each for each in readings if each.metric.name == "outlast_job_wait_seconds" and each.labels[0] == "metered"
    ]
    assert {each.labels[1]: each.edges[-1] for each in waits} == {"fast": 20, "default": 600}


async def test_runs_retries_bytes_and_round_trips_are_counted_of_all_ways_to_run(shop: Outlast) -> None:
    async with supervising(processes=1) as supervisor:
        for job in (quick.message(0.0), flaky.message(), dies.message(), counts.message(3), counts.message(4)):
            (handle,) = await shop.send([job])
            await record(shop, handle)
        assert gauges(supervisor.readings())
    readings = supervisor.readings()
    runs = {key: value[0] for key, value in values(readings, "outlast_kind_runs_total").items() if value[0]}
    assert runs == {
        ("quick", "succeeded"): 1,
        ("flaky", "retried"): 1,
        ("flaky", "succeeded"): 1,
        ("dies", "dead"): 1,
        ("counts", "succeeded"): 2,
    }
    assert values(readings, "outlast_retries_total") == {("fast",): (1,), ("default",): (0,)}
    assert total(readings, "outlast_job_run_seconds") == total(readings, "outlast_job_wait_seconds") == 6
    assert values(readings, "outlast_kind_cpu_seconds_total")["counts",][0] > 0
    assert values(readings, "outlast_kind_bytes_total")["flaky",] == (2 * len("{}") + len('"the second"'),)
    seen = {each.labels: each.values for each in readings if each.metric.name == "metered_seen_total"}
    assert seen == {("dies",): (1,), ("counts",): (7,)}
    settled = next(each for each in readings if each.labels == ("settle",))
    assert sum(settled.values[:-1]) >= 5
    (cpu,) = [each for each in readings if each.metric.name == "outlast_process_cpu_seconds_total"]
    assert cpu.values[0] > 0.1
    assert gauges(readings) == {}


async def test_recycled_workers_lose_no_count_and_leave_no_gauge(shop: Outlast) -> None:
    jobs = 600
    async with supervising(processes=1, max_jobs=60) as supervisor:
        first = await until(lambda: supervisor.pids, "it has started")
        handles = await shop.send([quick.message(0.0) for _ in range(jobs)])
        await ended(shop, [each.id for each in handles])
        await until(lambda: supervisor.pids != first and len(supervisor.pids) == 1, "it was replaced")
        await until(lambda: slots(supervisor) == SLOTS, "only the new one has slots")
        series = {(each.metric.name, each.labels) for each in supervisor.readings()}
    readings = supervisor.readings()
    assert values(readings, "outlast_kind_runs_total")["quick", "succeeded"] == (jobs,)
    assert total(readings, "outlast_job_run_seconds") == total(readings, "outlast_job_wait_seconds") == jobs
    assert gauges(readings) == {}
    assert {(each.metric.name, each.labels) for each in readings} <= series


async def test_killed_workers_lose_at_most_one_batch_each(shop: Outlast) -> None:
    jobs, kills = 1200, 4
    async with supervising(processes=3) as supervisor:
        await until(lambda: slots(supervisor) == 3 * SLOTS, "all are up")
        handles = await shop.send([quick.message(0.005) for _ in range(jobs)])
        seen = 0.0
        for number in range(kills):

            def counted() -> float:
                return values(supervisor.readings(), "outlast_kind_runs_total")["quick", "succeeded"][0]

            await until(lambda: counted() > seen + jobs / kills / 3, "the workers go on")  # noqa: B023 - awaited here
            seen = counted()
            os.kill(supervisor.pids[number % len(supervisor.pids)], signal.SIGKILL)
        await ended(shop, [each.id for each in handles])
        await until(lambda: slots(supervisor) == 3 * SLOTS, "the dead ones have no slots, those that replace them have")
    readings = supervisor.readings()
    runs = values(readings, "outlast_kind_runs_total")["quick", "succeeded"][0]
    assert jobs - kills * BATCH <= runs <= jobs
    for name in ("outlast_job_run_seconds", "outlast_job_wait_seconds"):
        assert jobs - kills * BATCH <= total(readings, name) <= jobs
    assert gauges(readings) == {}


async def test_a_worker_that_is_told_of_lost_jobs_counts_its_lease_as_lapsed_once() -> None:
    def lapsed() -> float:
        found = {each.labels: each.values for each in meters.read() if each.metric.name == LAPSED.metric.name}
        return found["tests",][0]

    app = new_app("memory:")

    @app.job
    async def nothing() -> None: ...

    async with app, working(app) as worker:
        before = lapsed()
        worker.lose([Lost(Fence("fast.1", "fast", 1), "cancelled")])
        assert lapsed() == before
        worker.lose([Lost(Fence(f"fast.{number}", "fast", 1), "superseded") for number in range(3)])
        assert lapsed() == before + 1


async def test_a_worker_counts_without_memory_that_it_can_share(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its jobs are worth more than its metrics."""
    read, write = os.pipe()
    child_main._share_meters(write)
    os.close(read)
    os.close(write)
    assert "the metrics of this worker process cannot be read" in caplog.text
    child_main._share_meters(-1)
    assert len(caplog.messages) == 1
