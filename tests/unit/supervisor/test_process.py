"""Which jobs the end of a worker process counts as a crash for, and when the next one starts."""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import Any

import psutil
import pytest

from outlast.aio.children import how_ended
from outlast.aio.clock import SystemClock
from outlast.brokers.memory import MemoryStore
from outlast.core.message import Failure, Fence, Holder
from outlast.core.settlement import Finish, Reschedule
from outlast.core.store.store import Store
from outlast.supervisor import blame, process
from outlast.supervisor.blame import release, release_jobs_of, release_within
from outlast.supervisor.messages import WorkerConfig
from outlast.supervisor.process import ProcessExit
from outlast.supervisor.replica import restart_delay
from outlast.worker.job_map import CLAIMED, ENDED, STARTED, JobEntry
from outlast.worker.store_link import StoreLink


def job(name: str, state: int, crashes: int = 0) -> JobEntry:
    return JobEntry(state, Fence(f"q.{name}", "q", 7), 100.0, 2, crashes, 500.0)


def exit_of(code: int, *jobs: JobEntry, killed_for: str = "", left: bool = False) -> ProcessExit:
    return ProcessExit(Holder("h"), code, killed_for, jobs, ready=True, lived=1.0, left=left)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [0, 1, 2, 3, 5, -9, -15])
def test_a_death_is_counted_for_the_jobs_that_had_started_whatever_the_exit_code(code: int) -> None:
    found = release_jobs_of(exit_of(code, job("a", STARTED, 1), job("b", CLAIMED), job("c", ENDED)), 300.0)
    text = f"its worker process died during the run ({how_ended(code)})"
    failure = Failure(2, 300.0, "WorkerDied", text)
    assert found == [
        Reschedule(Fence("q.a", "q", 7), 100.0, 2, failure, crashes=2),
        Reschedule(Fence("q.c", "q", 7), 100.0, 2, failure, crashes=1),
    ]


@pytest.mark.parametrize("code", [0, 3, 5])
def test_no_job_is_blamed_when_the_worker_left_in_peace(code: int) -> None:
    assert release_jobs_of(exit_of(code, job("a", STARTED), left=True), 300.0) == []


async def test_jobs_that_were_settled_before_are_not_told_as_released(caplog: pytest.LogCaptureFixture) -> None:
    """As when the answer to the settlements was lost, and the call is repeated."""
    clock = SystemClock()
    store = MemoryStore(clock)
    ended = ProcessExit(
        Holder("h"), -9, "", (job("a", STARTED), job("b", STARTED)), True, 1.0, False, (Fence("q.a", "q", 7),)
    )
    await store.open()
    link = StoreLink(Store.of(store, "memory:"), clock, Random(1), reconnect=None, patience=10)
    with caplog.at_level(logging.WARNING, "outlast.supervisor"):
        await release(link, ended, clock)
    assert caplog.messages[0] == "worker 0 is dead, 2 jobs of it run again; crashes counted: 2"
    await store.close()


@pytest.mark.parametrize("jobs", [(), (job("a", STARTED),)], ids=["idle", "at work"])
async def test_a_stop_does_not_wait_for_a_store_that_is_away_and_says_what_is_left_behind(
    jobs: tuple[JobEntry, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Away:
        async def retry(self, what: str, call: object) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(blame, "LAST_CALL", 0.01)
    link: Any = Away()
    over = asyncio.Event()
    over.set()
    await release_within(link, exit_of(-9, *jobs), SystemClock(), over)
    left = ["the store did not take back the jobs of a worker in time: their lease will lapse"]
    assert caplog.messages == (left if jobs else [])


@pytest.mark.parametrize("killed_for", ["stalled", "forced"])
def test_no_job_is_blamed_for_a_kill_by_the_supervisor(killed_for: str) -> None:
    assert release_jobs_of(exit_of(-9, job("a", STARTED), killed_for=killed_for), 300.0) == []


def test_an_overdue_job_is_told_why_its_process_was_killed() -> None:
    (found,) = release_jobs_of(exit_of(-9, job("a", STARTED), killed_for="overdue"), 300.0)
    assert not isinstance(found, Finish)
    assert found.error is not None
    assert "hard deadline" in found.error.message


def test_restarts_come_at_once_and_back_off_to_five_seconds() -> None:
    assert [restart_delay(n) for n in (-1, 0, 1, 2, 3)] == [0.0, 0.0, 0.2, 0.4, 0.8]
    assert restart_delay(100) == 5.0


async def test_a_process_that_cannot_start_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(process, "Child", fails)
    config = WorkerConfig(target="main:shop", holder="", map_fd=-1, control_fd=-1, supervisor=0)
    before = psutil.Process().num_fds()
    for _ in range(3):
        with pytest.raises(OSError, match="no more processes"):
            process.WorkerProcess(config, SystemClock(), Random(1))
    assert psutil.Process().num_fds() == before
