"""How many replicas a queue needs."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.core.forecast import Forecast
from outlast.core.store.broker import QueueStats
from outlast.observe.autoscale import replicas_for


def queue(ready: int = 0, *, consumers: int = 2, ends: float | None = 4.0, arrivals: float = 0.0, **facts: Any) -> Any:
    forecast = Forecast(ends=ends, arrivals=arrivals, why=facts.pop("why", ""))
    return QueueStats(ready=ready, consumers=consumers, forecast=forecast, **facts)


def replicas(*queues: QueueStats, within: float = 60.0, processes: int = 1) -> int:
    named = {f"q{n}": each for n, each in enumerate(queues)}
    return replicas_for(named, within=within, processes=processes).replicas


def test_the_backlog_is_gone_in_time_beside_what_arrives() -> None:
    """Each of the two workers ends 2 jobs a second."""
    assert replicas(queue(1200)) == 10
    assert replicas(queue(1200), within=120) == 5
    assert replicas(queue(1200, arrivals=4.0)) == 12
    assert replicas(queue(1201)) == 11


def test_a_replica_of_several_processes_is_counted_once() -> None:
    assert replicas(queue(1200), processes=4) == 3


def test_queues_of_the_same_workers_add_up_before_they_are_rounded() -> None:
    assert replicas(queue(60), queue(60)) == 1


def test_nothing_to_do_needs_no_replica_and_the_autoscaler_has_the_minimum() -> None:
    assert replicas(queue(0)) == 0
    assert replicas(queue(0, consumers=0, ends=None)) == 0


def test_a_job_that_runs_keeps_one_replica() -> None:
    assert replicas(queue(0, running=1), processes=8) == 1


def test_the_first_worker_is_asked_for_when_there_is_none() -> None:
    found = replicas_for({"mail": queue(5000, consumers=0, ends=None)}, within=60, processes=1)
    assert (found.replicas, found.why) == (1, {"mail": "no worker consumes it: the first one tells how fast it is"})


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"ends": None, "why": "no job has run yet"}, "no job has run yet"),
        ({"ends": None, "why": "its workers take none now"}, "its workers take none now"),
        ({"held": "rate"}, "its limit on rate holds it, and more workers do not help"),
        ({"paused": True, "running": 1}, "it is paused"),
    ],
    ids=["unknown", "a guard", "a limit", "a pause"],
)
def test_where_more_workers_would_not_help_it_stays_as_it_is(facts: dict[str, Any], why: str) -> None:
    found = replicas_for({"mail": queue(100_000, **facts)}, within=60, processes=1)
    assert (found.replicas, found.why) == (2, {"mail": why})


def test_a_limit_does_not_keep_workers_that_have_nothing_to_do() -> None:
    assert replicas(queue(10, consumers=8, held="concurrency", ends=16.0)) == 1


def test_workers_whose_jobs_run_for_longer_than_the_objective_are_not_taken_away() -> None:
    found = replicas_for({"mail": queue(0, consumers=5, ends=0.01, running=50)}, within=60, processes=1)
    assert (found.replicas, found.why) == (5, {"mail": "its jobs run for longer than the objective"})
