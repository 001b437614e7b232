"""Real workers under a supervisor: a frozen claimer makes the service unhealthy, and nothing else does."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from outlast import Settings
from outlast.admin.guards import command_guard
from outlast.core.store.broker import QueueStats
from outlast.core.store.control import Pause
from outlast.declare.options import Options
from outlast.meters import meters
from outlast.observe.health.judge import frozen_queues
from outlast.observe.health.probe import ask
from outlast.observe.health.views import WorkerView
from outlast.supervisor.supervisor import Supervisor
from tests.support.apps import probed_app
from tests.support.apps.probed_app import brief, burns, holds, one, pays
from tests.support.ledger import Ledger
from tests.support.polling import until
from tests.support.sqlite_file import locked
from tests.support.stage import declaring_alike

TARGET = "tests.support.apps.probed_app:app"


class Scene:
    """A supervisor in this process, its workers, and an app that enqueues."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.file = folder / "jobs.db"
        self.path = str(folder / "health")
        self.ledger = ledger
        settings = Settings(url=f"sqlite:{self.file}", enqueue_timeout=60)
        self.app = declaring_alike(probed_app.app, settings, whole=True)
        self.app.guard("payments", breaker=True)
        self.supervisor: Any = None
        self.task: Any = None
        self.stop = asyncio.Event()

    async def begin(self, **options: Any) -> None:
        """Start the supervisor; return when its worker consumes."""
        self.supervisor = Supervisor(TARGET, **{"health_socket": self.path, "concurrency": 2, **options})
        self.task = asyncio.create_task(self.supervisor.run(self.stop))
        await until(lambda: self.worker.state == "consuming" and self.worker.asked, "the worker consumes")

    async def end(self) -> None:
        self.ledger.write("open", "all")
        self.stop.set()
        if self.task is not None:
            await self.task
        await self.app.close()

    @property
    def worker(self) -> WorkerView:
        """What is seen of its only worker, or of none."""
        found = () if self.supervisor is None else self.supervisor.health.view().workers
        return found[0] if found else WorkerView(pid=0, state="starting")

    async def asked(self, question: str = "live") -> tuple[bool | None, str]:
        """Ask as `outlast health` does."""
        return await asyncio.to_thread(ask, self.path, question, 60.0)

    async def enqueue(self, job: Any, *names: str) -> None:
        await self.app.send([job.message(each) for each in names])

    async def started(self, *names: str) -> None:
        await until(lambda: set(names) <= set(self.ledger.names("start")), f"{names} have started")

    async def stats(self) -> Mapping[str, QueueStats]:
        return await (await self.app.runtime()).store.broker.stats(())

    async def counts_for_nothing(self) -> None:
        """Assert that the worker would not count as frozen however long this lasts, and that the probe says so."""
        worker, stats = self.worker, await self.stats()
        explained = worker.state != "consuming" or worker.away or not frozen_queues(worker, stats)
        assert explained, (worker, stats)
        good, text = await self.asked()
        assert good, text


@pytest.fixture
async def scene(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setenv("OUTLAST_URL", f"sqlite:{tmp_path}/jobs.db")
    monkeypatch.setenv("OUTLAST_LEASE", "2")
    found = Scene(tmp_path, ledger)
    yield found
    await found.end()


async def test_a_frozen_claimer_makes_the_service_unhealthy(scene: Scene) -> None:
    await scene.begin(frozen_after=6.0)  # a claim waits for 5 s
    assert (await scene.asked())[0]
    scene.ledger.write("freeze", "claimer")
    await scene.enqueue(brief, "wakes")
    await scene.started("wakes")
    await scene.enqueue(brief, "due")
    text = await until(lambda: _told_when_bad(scene), "it is unhealthy")
    assert text.startswith(f"frozen: worker {scene.worker.pid} has free slots and due jobs in mail, and no claim of it")
    assert not (await scene.asked("ready"))[0]
    assert scene.ledger.names("frozen") == {"claimer": 1}
    assert "due" not in scene.ledger.names("start")


async def _told_when_bad(scene: Scene) -> str:
    good, text = await scene.asked()
    return "" if good else text


async def test_a_frozen_claimer_without_due_jobs_harms_no_one(scene: Scene) -> None:
    await scene.begin(frozen_after=0.5)
    scene.ledger.write("freeze", "claimer")
    await until(lambda: scene.ledger.read("frozen"), "it is frozen")
    await until(lambda: scene.worker.due > 1, "its claims are late")
    await until(lambda: scene.supervisor.health._asked_at > 0, "the store was asked")
    await scene.counts_for_nothing()


async def test_long_jobs_that_take_all_slots_are_no_fault(scene: Scene) -> None:
    await scene.begin()
    await scene.enqueue(holds, "a", "b", "c")
    await scene.started("a", "b")
    await until(lambda: not scene.worker.asked, "there is no room")
    assert scene.worker.due == 0.0
    await scene.counts_for_nothing()
    assert (await scene.asked("ready"))[0], "a worker that works to capacity is ready"


async def test_a_job_that_uses_the_cpu_and_blocks_the_loop_is_no_fault(scene: Scene) -> None:
    await scene.begin()
    await scene.enqueue(burns, "a")
    await scene.started("a")
    await scene.enqueue(brief, "b")
    await until(lambda: scene.worker.state == "silent", "its state has expired with its lease")
    await scene.counts_for_nothing()


async def test_a_guard_that_is_open_is_no_fault(scene: Scene) -> None:
    await scene.begin()
    await command_guard((await scene.app.runtime()).store.guards, "payments", "open")
    await until(lambda: scene.worker.shut == ("pay",), "the worker holds the queue")
    await scene.enqueue(pays, "a")
    assert "pay" not in scene.worker.asked
    await scene.counts_for_nothing()
    good, text = await scene.asked("ready")
    assert good, text


async def test_a_paused_queue_and_a_full_limit_are_no_fault(scene: Scene) -> None:
    await scene.begin()
    await scene.enqueue(one, "first")
    await scene.started("first")
    await scene.enqueue(one, "second")
    store = (await scene.app.runtime()).store
    await store.control.apply([Pause("mail")])
    await scene.enqueue(brief, "waits")
    stats = await scene.stats()
    assert (stats["mail"].ready, stats["mail"].paused, stats["one"].ready, stats["one"].held) == (
        1,
        True,
        1,
        "concurrency",
    )
    await until(lambda: "mail" in scene.worker.asked and "one" in scene.worker.asked, "it has room")
    await scene.counts_for_nothing()


async def test_jobs_of_a_kind_that_no_worker_knows_are_no_fault(scene: Scene) -> None:
    await scene.begin()
    declared = probed_app.app.registry.declarations["brief"]
    message = structs.replace(probed_app.app.compose(declared, ("a",), {}, Options()), kind="newer")
    await (await scene.app.runtime()).store.broker.publish([message])

    async def parked() -> bool:
        found = (await scene.stats())["mail"]
        return (found.parked, found.ready) == (1, 0) and not frozen_queues(scene.worker, {"mail": found})

    await until(parked, "it is parked")
    assert (await scene.asked())[0]


async def test_a_store_that_is_away_is_no_fault_and_readiness_tells_it(scene: Scene) -> None:
    await scene.begin()
    with locked(scene.file):
        await until(lambda: scene.worker.away, "its calls fail")
        assert scene.worker.due == 0.0
        good, text = await scene.asked()
        assert good, text
        assert not (await scene.asked("ready"))[0]
        assert (await scene.asked("started"))[0]
    await until(lambda: not scene.worker.away, "its calls succeed again")
    await scene.enqueue(brief, "after")
    await scene.started("after")
    assert (await scene.asked("ready"))[0]


async def test_a_service_that_drains_says_so_and_is_not_ready(scene: Scene) -> None:
    await scene.begin()
    await scene.enqueue(holds, "a")
    await scene.started("a")
    scene.stop.set()
    await until(lambda: scene.worker.state == "draining", "it drains")
    assert await scene.asked() == (True, "draining: it drains")
    assert await scene.asked("ready") == (False, "draining: it drains: it takes no more jobs")
    scene.ledger.write("open", "all")
    await scene.task
    assert (await scene.asked())[0] is None, "no supervisor is left"


async def test_a_sigkill_and_a_clean_end_are_told_apart(scene: Scene) -> None:
    def exits() -> dict[str, float]:
        named = [each for each in meters.read() if each.metric.name == "outlast_worker_exits_total"]
        return {each.labels[1]: each.values[0] for each in named if each.labels[0] == "probed"}

    await scene.begin()
    before = exits()
    first = scene.worker.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: scene.worker.pid not in (0, first) and scene.worker.state == "consuming", "another consumes")
    second = scene.worker.pid
    scene.supervisor.reload()
    await until(lambda: scene.worker.pid not in (0, second) and len(scene.supervisor.pids) == 1, "it is replaced")
    scene.stop.set()
    await scene.task
    grown = {how: number - before[how] for how, number in exits().items()}
    assert grown == {"clean": 1, "recycled": 1, "crashed": 0, "killed": 1, "stalled": 0}


async def test_a_supervisor_answers_over_http_from_its_start(scene: Scene) -> None:
    await scene.begin(listen="127.0.0.1:0")
    await until(lambda: scene.supervisor.health.server.address, "it listens")
    reader, writer = await asyncio.open_connection(*scene.supervisor.health.server.address)
    writer.write(b"GET /autoscale?queue=mail HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"replicas":0' in answer


async def test_the_address_of_the_settings_is_used_when_none_was_given(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAST_PROBED_LISTEN", "127.0.0.1:0")
    await scene.begin()
    await until(lambda: scene.supervisor.health.server.address, "it listens")


async def test_the_start_is_over_while_the_store_is_away(scene: Scene) -> None:
    """Else a start-up probe would restart the service for as long as the store is away."""
    await scene.app.runtime()
    with locked(scene.file):
        scene.supervisor = Supervisor(TARGET, health_socket=scene.path)
        scene.task = asyncio.create_task(scene.supervisor.run(scene.stop))
        await until(lambda: scene.worker.state == "opening", "the app is imported")
        assert (await scene.asked("started"))[0]
        assert (await scene.asked())[0]
        assert not (await scene.asked("ready"))[0]
    await until(lambda: scene.worker.state == "consuming", "it consumes when the store is back")
    await until(lambda: _is_ready(scene), "it is ready")


async def _is_ready(scene: Scene) -> bool | None:
    return (await scene.asked("ready"))[0]
