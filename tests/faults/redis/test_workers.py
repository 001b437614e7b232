"""Real workers on a Redis that is killed, cut off and emptied of connections while they run; judged by their ledger."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from outlast.core.store.records import JobRecord
from outlast.settings import Settings
from tests.faults.hostile.judge import judge
from tests.faults.kill.app import app as declared
from tests.faults.kill.app import brief
from tests.faults.proofs.redis_survival import Orders, survive
from tests.support.polling import until
from tests.support.servers.proxy import proxied
from tests.support.servers.redis_fleet import Node
from tests.support.stage import Stage

TARGET = "tests.faults.kill.app:app"
WORKERS = {"processes": 2, "concurrency": 10}


class Scene(Stage):
    """Supervisors that reach a server at one port, and ourselves that reach it at its own."""

    def __init__(self, folder: Path, server: Node, port: int, lease: float) -> None:
        environ = {
            "OUTLAST_FAULTS_URL": f"redis://127.0.0.1:{port}/0?timeout=0.5&connect_timeout=0.5",
            "OUTLAST_FAULTS_LEASE": str(lease),
            "OUTLAST_FAULTS_DRAIN_GRACE": "5",
        }
        super().__init__(declared, TARGET, folder, Settings(url=server.url, enqueue_timeout=60), environ)

    async def enqueue(self, first: int, number: int, seconds: float) -> list[str]:
        """Enqueue jobs in one step; return their ids."""
        messages = [brief.message(f"job-{n}", seconds) for n in range(first, first + number)]
        return [handle.id for handle in await self.app.send(messages)]

    async def ended(self, ids: list[str]) -> list[JobRecord]:
        """Return the records when all have ended."""
        store = (await self.app.runtime()).store
        found = [each for each in await store.records.wait(ids, 60) if each is not None]
        assert len(found) == len(ids), self.log.read_text()
        assert all(each.state == "succeeded" for each in found), f"{found}\n{self.log.read_text()}"
        return found


@asynccontextmanager
async def staged(folder: Path, server: Node, *, port: int = 0, lease: float = 10.0) -> AsyncIterator[Scene]:
    """Set the scene for the block."""
    scene = Scene(folder, server, port or server.port, lease)
    try:
        yield scene
    finally:
        await scene.app.close()
        print(scene.told())


def in_progress(scene: Scene, least: int) -> Callable[[], bool]:
    return lambda: len(scene.ledger.names("end")) >= least


async def test_a_killed_and_restarted_server_causes_no_lost_job_and_no_second_run(tmp_path: Path, server: Node) -> None:
    async with staged(tmp_path, server) as scene:
        ids = await scene.enqueue(0, 300, 0.05)
        with scene.start(**WORKERS):
            for least in (30, 120, 210):
                await until(in_progress(scene, least), "they work")
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            await scene.ended(ids)
            later = await scene.enqueue(1000, 5, 0)
            await scene.ended(later)
    assert set(scene.ledger.names("start").values()) == {1}  # the lease, 10 s, outlives the outage
    assert len(scene.ledger.names("end")) == 305


async def test_repeated_kills_of_connections_lose_no_job(tmp_path: Path, server: Node) -> None:
    async with staged(tmp_path, server) as scene:
        ids = await scene.enqueue(0, 200, 0.05)
        with scene.start(**WORKERS):
            for least in range(10, 200, 20):
                await until(in_progress(scene, least), "they work")
                for kind in ("normal", "pubsub"):
                    server.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            await scene.app.close()  # ours may be among them
            await scene.ended(ids)
    assert set(scene.ledger.names("start").values()) == {1}


async def test_workers_behind_a_dead_connection_reconnect(tmp_path: Path, server: Node) -> None:
    """Half-open: no connection is refused, no request is answered. Jobs wait; afterwards all workers run jobs again."""
    async with proxied(server.port) as proxy, staged(tmp_path, server, port=proxy.port) as scene:
        ids = await scene.enqueue(0, 100, 0.05)
        with scene.start(**WORKERS):
            await until(in_progress(scene, 20), "they work")
            proxy.deafen()
            accepted = proxy.accepted
            await until(lambda: proxy.accepted > accepted + 3, "they have given the line up, and try another")
            proxy.heal()
            await scene.ended(ids)
            await scene.ended(await scene.enqueue(1000, 5, 0))
    assert set(scene.ledger.names("start").values()) == {1}


@pytest.mark.parametrize("away", ["killed", "frozen"])
async def test_idle_workers_stop_without_their_server(tmp_path: Path, server: Node, away: str) -> None:
    async with staged(tmp_path, server) as scene:
        scene.environ["OUTLAST_FAULTS_DRAIN_GRACE"] = "3600"
        with scene.start(**WORKERS) as running:
            await scene.ended(await scene.enqueue(0, 10, 0))
            if away == "killed":
                await asyncio.to_thread(server.kill)
            else:
                server.signal(signal.SIGSTOP)
            running.process.terminate()
            await until(lambda: running.process.poll() is not None, "they stop")
            assert running.process.returncode == 0
        if away == "frozen":
            server.signal(signal.SIGCONT)
        else:
            await asyncio.to_thread(server.start)


async def test_a_job_that_ends_its_worker_is_blamed_and_its_neighbours_succeed(tmp_path: Path, server: Node) -> None:
    ways = ("exits_with_0", "cancels_all_tasks", "closes_all_descriptors", "gathers_a_task_that_exits")
    verdicts = await judge(ways, server.url, tmp_path)
    assert not [verdict for verdict in verdicts if verdict.faults]


async def test_jobs_that_run_past_their_lease_in_an_outage_run_again(tmp_path: Path, server: Node) -> None:
    async with staged(tmp_path, server, lease=1.0) as scene:
        ids = await scene.enqueue(0, 4, 3.0)
        with scene.start(**WORKERS):
            await until(lambda: len(scene.ledger.names("start")) == 4, "they have started")
            server.signal(signal.SIGSTOP)
            await until(in_progress(scene, 4), "they end while the server is away")
            server.signal(signal.SIGCONT)
            records = await scene.ended(ids)
    # If no other holder claimed it, its settlement counts; else the second run was counted as a crash or an attempt.
    for record in records:
        name = f"job-{ids.index(record.id)}"
        assert scene.ledger.names("start")[name] <= 1 + record.crashes + (record.attempt - 1)


async def test_workers_and_server_are_killed_at_random_and_nothing_is_lost(tmp_path: Path) -> None:
    verdict = await survive(Orders(jobs=600, kills=6, restarts=3, seed=3, gap=0.7), tmp_path)
    print(verdict)  # in full: python -m tests.faults.proofs.redis_survival
    assert verdict.holds, verdict
    assert verdict.accepted == 600
