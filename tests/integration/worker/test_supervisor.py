"""A supervisor that runs in this process: what it does when a part of itself fails."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from outlast.core.errors import StoreCorrupt
from outlast.supervisor import supervisor
from outlast.supervisor.replacements import Replacements
from outlast.supervisor.supervisor import Supervisor
from tests.support.polling import until


@pytest.mark.parametrize(
    ("owner", "part"),
    [(Supervisor, "_renewals"), (Supervisor, "_checks"), (Replacements, "run"), (Supervisor, "_watch_consumers")],
)
async def test_a_supervisor_that_lost_a_part_of_itself_stops_and_says_so(
    owner: type, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its workers would run on without renewals, deadlines or replacements."""

    async def fails(*_: object) -> None:
        raise RuntimeError(part)

    monkeypatch.setattr(owner, part, fails)
    broken = Supervisor("tests.support.apps.isolated_app:app")
    with pytest.raises(RuntimeError, match=part):
        await broken.run(asyncio.Event())
    assert broken.pids == []


@pytest.mark.parametrize(
    ("error", "text"),
    [(StoreCorrupt("the file is damaged"), "the file is damaged"), (RuntimeError("a fault"), "RuntimeError")],
)
async def test_what_fails_beside_a_worker_is_told_at_once(
    error: Exception,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Not when Python happens to free the task: until then no one knew that leases were not renewed."""

    async def fails(*_: object) -> None:
        raise error

    monkeypatch.setenv("OUTLAST_URL", f"sqlite:{tmp_path}/jobs.db")
    monkeypatch.setattr(supervisor, "open_link", fails)
    running, stop = Supervisor("tests.support.apps.isolated_app:app"), asyncio.Event()
    task = asyncio.create_task(running.run(stop))
    (pid,) = await until(lambda: running.pids, "it has a worker")
    told = f"does not renew the lease of worker {pid}: {text}"
    await until(lambda: told in caplog.text, "the failed connection is told")
    stop.set()
    await task


async def test_a_release_that_fails_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async def fails(*_: object) -> None:
        raise StoreCorrupt("the file is damaged")

    monkeypatch.setenv("OUTLAST_URL", f"sqlite:{tmp_path}/jobs.db")
    monkeypatch.setattr(supervisor, "release_within", fails)
    running, stop = Supervisor("tests.support.apps.isolated_app:app"), asyncio.Event()
    task = asyncio.create_task(running.run(stop))
    await until(lambda: running._links, "its worker is up")
    (pid,) = running.pids
    os.kill(pid, signal.SIGKILL)
    told = f"the jobs of worker {pid} are not released, their lease will lapse: the file is damaged"
    await until(lambda: told in caplog.text, "the failed release is told")
    stop.set()
    await task
