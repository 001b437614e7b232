"""Jobs that must run alone get a fork of a process that has the app imported, wherever that is safe."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from outlast import Outlast
from outlast.core.message import Holder
from outlast.enqueue.handle import Handle
from outlast.worker import Worker
from outlast.worker.app_source import AppSource
from outlast.worker.isolation.fork_client import ForkServer
from outlast.worker.isolation.fork_server import unfit
from tests.support.apps.isolated_app import build_jobs
from tests.support.ledger import Ledger
from tests.support.polling import until
from tests.support.working import record, working

TARGET = "tests.support.apps.isolated_app:app"


async def suspects(app: Outlast, *calls: tuple[str, Any]) -> list[Handle[Any]]:
    """Enqueue jobs that were there at two crashes, so that each must run alone. They are run in this order."""
    handles = await app.enqueue_many(
        build_jobs[name].message(*(() if given is None else (given,))) for name, given in calls
    )
    store = (await app.runtime()).store
    for number in range(2):
        holder = Holder(f"crasher-{number}")
        given = await store.broker.claim({"default": 100}, limit=100, holder=holder, lease=60, wait=5)
        assert len(given) == len(calls)
        await store.broker.forfeit(holder, crashed=True)
    return handles


FIRST: list[tuple[str, Any]] = [("family", None)] * 2
"""They tell which process is the fork server; the first of them waits for it to come up."""


async def parent_of(job: Handle[Any]) -> int:
    _, parent = await job.result(timeout=60)
    return int(parent)


async def test_a_fresh_fork_runs_each_job(isolated: Outlast) -> None:
    jobs = await suspects(isolated, *FIRST * 3)
    async with working(isolated, target=TARGET, processes=1):
        ran = [await job.result(timeout=60) for job in jobs]
    assert len({pid for pid, _ in ran}) == len(jobs)
    assert {parent for _, parent in ran} == {ran[0][1]} != {os.getpid()}
    assert not Path(f"/proc/{ran[-1][1]}").exists(), "the fork server ends with the worker"


async def test_poison_in_a_fork_is_dead_and_the_fork_server_serves_the_next(isolated: Outlast, ledger: Ledger) -> None:
    jobs = await suspects(isolated, *FIRST, ("dies", "signal"), ("dies", "exit"), ("family", None))
    async with working(isolated, target=TARGET, processes=1):
        for job, told in zip(jobs[2:4], ("SIGKILL", "exit code 9"), strict=True):
            found = await record(isolated, job)
            assert (found.state, found.reason) == ("dead", "poison")
            assert told in found.failures[0].message
        assert await parent_of(jobs[-1]) == await parent_of(jobs[1]) != os.getpid()
    assert len(ledger.read("dies")) == 2


@pytest.mark.parametrize("thread", ["", "1"], ids=["forked", "started-anew"])
async def test_a_job_alone_that_kills_its_parent_is_dead_and_its_neighbours_run_once(
    isolated: Outlast, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, thread: str
) -> None:
    monkeypatch.setenv("OUTLAST_TEST_THREAD", thread)  # with a thread the app must not be forked
    jobs = await suspects(isolated, *FIRST, ("naps", 2.0), ("kills_its_parent", None), ("family", None))
    async with working(isolated, target=TARGET, processes=4):
        found = await record(isolated, jobs[3])
        assert (found.state, found.reason) == ("dead", "poison")
        assert "SIGKILL" in found.failures[-1].message
        assert await jobs[2].result(timeout=60) == 2
        assert await parent_of(jobs[1]) == await parent_of(jobs[4])
    assert (len(ledger.read("kills")), len(ledger.read("naps"))) == (1, 1)


@pytest.mark.parametrize("how", ["exit", "signal"])
async def test_the_death_of_a_job_alone_counts_also_while_its_worker_stops(
    isolated: Outlast, ledger: Ledger, how: str
) -> None:
    """A SIGKILL aside: whatever ends the whole service may send it, to the child before the worker."""
    jobs = await suspects(isolated, ("dies_when_told", how))
    stop = asyncio.Event()
    task = asyncio.create_task(Worker(await isolated.runtime(), target=TARGET, processes=1).run(stop))
    await until(lambda: ledger.read("waits"), "it runs")
    stop.set()
    await until(lambda: "outlast claimer" not in {each.get_name() for each in asyncio.all_tasks()}, "it drains")
    ledger.write("told", how)
    await task
    (found,) = await (await isolated.runtime()).store.records.get([jobs[0].id])
    assert found is not None
    assert (found.state, found.reason, found.crashes) == (
        ("dead", "poison", 2) if how == "exit" else ("ready", None, 2)
    )


async def test_past_its_timeout_a_fork_is_killed_with_what_it_started(isolated: Outlast, ledger: Ledger) -> None:
    jobs = await suspects(isolated, *FIRST, ("hangs_with_a_child", None), ("family", None))
    async with working(isolated, target=TARGET, processes=1):
        found = await record(isolated, jobs[2])
        assert (found.state, found.reason) == ("dead", "timeout")
        (child,) = ledger.read("child")
        await until(lambda: gone(int(child.name)) and gone(child.pid), "both are gone")
        assert await parent_of(jobs[1]) == await parent_of(jobs[-1]) != os.getpid()


async def test_the_death_of_the_fork_server_is_nobodys_crash(isolated: Outlast, ledger: Ledger) -> None:
    jobs = await suspects(isolated, *FIRST, ("naps", 2.0))
    async with working(isolated, target=TARGET, processes=1):
        await until(lambda: ledger.read("naps"), "it runs")
        fork_server = int(ledger.read("naps")[0].name)
        assert fork_server == await parent_of(jobs[1]) != os.getpid()
        os.kill(fork_server, signal.SIGKILL)
        assert await jobs[-1].result(timeout=60) == 2
    assert [int(entry.name) for entry in ledger.read("naps")] == [fork_server, os.getpid()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_an_app_that_cannot_be_imported_gives_no_forks() -> None:
    fork_server = ForkServer(AppSource("tests.support.no_such_module:app"))
    fork = fork_server.fork()
    assert fork is not None
    await fork.dead.wait()
    assert fork.lost
    assert fork_server.fork() is None
    fork.sock.close()
    await fork_server.close()


async def test_an_app_that_must_not_be_forked_runs_such_jobs_in_processes_started_anew(
    isolated: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAST_TEST_THREAD", "1")
    jobs = await suspects(isolated, *FIRST * 2)
    async with working(isolated, target=TARGET, processes=1):
        assert {await parent_of(job) for job in jobs} == {os.getpid()}
    assert [(await job.record()).crashes for job in jobs] == [2, 2, 2, 2]


def test_threads_connections_and_shared_files_forbid_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    log, data = tmp_path / "log", tmp_path / "data"
    with log.open("ab") as appended, data.open("w+b") as shared, log.open("rb") as read, socket.socket() as line:
        assert unfit(set()) == ""
        assert unfit({appended.fileno(), read.fileno(), 99_999}) == ""
        assert str(data) in unfit({appended.fileno(), shared.fileno()})
        assert "socket" in unfit({line.fileno()})
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert "thread" in unfit(set())
