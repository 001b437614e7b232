"""Slots and lag are set at each beat and before each reading, and have no values after the end."""

from __future__ import annotations

import time

import pytest

from outlast import Outlast, Settings
from outlast.meters import meters
from outlast.worker import worker_gauges
from outlast.worker.budget import Budget
from outlast.worker.worker_gauges import WorkerGauges


def read(app: str = "") -> dict[tuple[str, ...], float]:
    """Those of an app, or those without one."""
    labels = [each for each in meters.read() if (each.labels[:1] == (app,) if app else each.labels == ())]
    return {(each.metric.name, *each.labels[1:]): each.values[0] for each in labels}


@pytest.fixture
def budget() -> Budget:
    shop = Outlast("gauged", settings=Settings(url="memory:"))
    return Budget(shop.composer, concurrency=7, threads=3, processes=2)


def test_slots_are_told_by_how_jobs_run_until_the_worker_ends(budget: Budget) -> None:
    gauges = WorkerGauges(budget, "gauged")
    assert budget.take_slot(budget.loop)
    gauges.beat(1.0)
    groups = {"loop": (7, 1), "thread": (3, 0), "process": (2, 0), "alone": (3, 0)}
    expected = {("outlast_worker_slots", name): slots for name, (slots, _) in groups.items()}
    expected |= {("outlast_worker_busy_slots", name): busy for name, (_, busy) in groups.items()}
    assert read("gauged") == expected
    assert budget.take_slot(budget.thread)
    assert read("gauged")["outlast_worker_busy_slots", "thread"] == 1  # set before a reading of this process
    assert read()["outlast_process_resident_bytes",] > 1 << 20
    gauges.close()
    assert read("gauged") == {}
    assert "outlast_worker_loop_lag_seconds" not in {name for name, *_ in read()}
    assert read()["outlast_process_resident_bytes",] > 1 << 20  # the process of an API goes on


def test_the_lag_is_the_worst_of_the_last_15_beats(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(worker_gauges, "monotonic", lambda: now[0])
    gauges = WorkerGauges(budget, "gauged")

    def beat(after: float) -> float:
        now[0] += after
        gauges.beat(1.0)
        return read()["outlast_worker_loop_lag_seconds",]

    assert beat(0) == 0
    assert beat(1.0) == 0
    assert beat(3.5) == 2.5
    assert [beat(1.25) for _ in range(14)] == [2.5] * 14
    assert beat(0.9) == 0.25
    gauges.close()


def test_cpu_seconds_are_counted_once_whatever_ends(budget: Budget) -> None:
    name = ("outlast_process_cpu_seconds_total",)
    first = WorkerGauges(budget, "gauged")
    first.beat(1.0)
    before, began = read()[name], time.process_time()
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    first.close()
    second = WorkerGauges(budget, "gauged")
    second.beat(1.0)
    second.close()
    grown, spent = read()[name] - before, time.process_time() - began
    assert 0.02 <= grown <= spent + 0.02
