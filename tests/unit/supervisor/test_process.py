"""Which jobs the end of a worker process counts as a crash for, and when the next one starts."""

from __future__ import annotations

import pytest

from outlast.core.message import Failure, Fence, Holder
from outlast.core.settlement import Finish, Reschedule
from outlast.supervisor.process import ProcessExit, release_jobs_of
from outlast.supervisor.replica import restart_delay
from outlast.worker.job_map import CLAIMED, ENDED, STARTED, JobEntry


def job(name: str, state: int, crashes: int = 0) -> JobEntry:
    return JobEntry(state, Fence(f"q.{name}", "q", 7), 100.0, 2, crashes, 500.0)


def exit_of(code: int, *jobs: JobEntry, killed_for: str = "") -> ProcessExit:
    return ProcessExit(Holder("h"), code, killed_for, jobs, ready=True, lived=1.0)  # type: ignore[arg-type]


def test_a_death_is_counted_for_the_jobs_that_had_started_and_no_others() -> None:
    found = release_jobs_of(exit_of(-9, job("a", STARTED, 1), job("b", CLAIMED), job("c", ENDED)), 300.0)
    text = "its worker process died during the run (SIGKILL)"
    failure = Failure(2, 300.0, "WorkerDied", text)
    assert found == [Reschedule(Fence("q.a", "q", 7), 100.0, 2, failure, crashes=2)]


@pytest.mark.parametrize(("code", "killed_for"), [(0, ""), (-9, "stalled"), (-9, "forced")])
def test_nobody_is_blamed_for_an_end_in_peace(code: int, killed_for: str) -> None:
    assert release_jobs_of(exit_of(code, job("a", STARTED), killed_for=killed_for), 300.0) == []


def test_an_overdue_job_is_told_why_its_process_was_killed() -> None:
    (found,) = release_jobs_of(exit_of(-9, job("a", STARTED), killed_for="overdue"), 300.0)
    assert not isinstance(found, Finish)
    assert found.error is not None
    assert "hard deadline" in found.error.message


def test_restarts_come_at_once_and_back_off_to_five_seconds() -> None:
    assert [restart_delay(n) for n in (-1, 0, 1, 2, 3)] == [0.0, 0.0, 0.2, 0.4, 0.8]
    assert restart_delay(100) == 5.0
