"""What a supervisor and its workers leave in the history: samples, marks, and the cost of each run once."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from outlast import Job, Outlast
from outlast.core.history import STEPS
from outlast.core.store.store import Store
from outlast.observe import history
from outlast.supervisor.supervisor import Supervisor
from tests.support.command import ROOT
from tests.support.polling import until
from tests.support.working import new_app, record

MAIN = """
from outlast import Outlast, Settings
shop = Outlast("tests", settings=Settings(url={url!r}, drain_grace=10.0))

@shop.job(queue="mail", key="tenant")
async def send(tenant: str) -> str:
    return "sent"
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An app in a module of its own, for the child processes too."""
    url = f"sqlite:{tmp_path}/jobs.db"
    (tmp_path / "history_app.py").write_text(MAIN.format(url=url))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.setattr(history, "EVERY", 0.2)
    return "history_app:shop"


Client = tuple[Outlast, Job[[str], str]]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """The same app and job as one that enqueues knows them."""
    app = new_app(f"sqlite:{tmp_path}/jobs.db")

    @app.job(queue="mail", key="tenant")
    async def send(tenant: str) -> str:
        return "sent"

    return app, send


async def marks(store: Store) -> list[str]:
    """Return the marks, the oldest first."""
    return [each.what for each in (await store.history.journal("mark", 99))[::-1]]


async def appears(store: Store, mark: str) -> None:
    """Wait until there is such a mark."""

    async def is_there() -> bool:
        return mark in await marks(store)

    await until(is_there, f"the mark {mark!r}")


async def sampled(store: Store) -> set[str]:
    """Wait until there are samples; return their queues."""
    return set(await until(lambda: store.history.samples(STEPS[0]), "a sample"))


async def test_a_supervisor_leaves_samples_marks_and_each_run_once(target: str, client: Client) -> None:
    app, send = client
    stop, running = asyncio.Event(), Supervisor(target, processes=2)
    async with app:
        work = asyncio.create_task(running.run(stop))
        store = (await app.runtime()).store
        jobs = [await send.enqueue(f"t{n % 3}") for n in range(60)]
        for job in jobs:
            await record(app, job)
        await appears(store, "workers started")
        os.kill(running.pids[0], signal.SIGKILL)
        await appears(store, "worker died")
        assert await sampled(store) == {"mail"}
        stop.set()
        assert await work == 0
        assert (await marks(store))[-1] == "workers stopped"
        (started, died, *_) = (await store.history.journal("mark", 99))[::-1]
        assert started.detail == "2 processes for queues mail"
        assert "SIGKILL" in died.detail
        assert sum(each.runs for each in await store.history.costs(1)) <= 60


async def test_a_clean_stop_loses_no_cost_and_a_reload_is_marked(target: str, client: Client) -> None:
    app, send = client
    stop, running = asyncio.Event(), Supervisor(target, processes=2, max_jobs=10)
    async with app:
        work = asyncio.create_task(running.run(stop))
        store = (await app.runtime()).store
        jobs = [await send.enqueue(f"t{n % 3}") for n in range(60)]
        for job in jobs:
            await record(app, job)
        running.reload()
        await appears(store, "workers reloaded")
        stop.set()
        assert await work == 0
        found = {each.tenant: each.runs for each in await store.history.costs(1)}
        assert found == {"t0": 20, "t1": 20, "t2": 20}
        assert "worker died" not in await marks(store)
