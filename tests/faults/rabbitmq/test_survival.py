"""Workers and the server are killed again and again under load: no job is lost, and no worker falls silent.

OUTLAST_TEST_RABBIT_KILLS workers are killed (200 in the proof), a server for each ten of them, over 100 jobs a kill.
"""

from __future__ import annotations

import asyncio
import os
from random import Random

import psutil

from outlast import EnqueueUnknown, StoreError
from tests.faults.kill.app import brief
from tests.faults.rabbitmq.transport_scene import RabbitScene, fragile, node
from tests.support.polling import until

__all__ = ["fragile", "node"]

KILLS = int(os.environ.get("OUTLAST_TEST_RABBIT_KILLS", "10"))
JOBS = 100 * KILLS


async def test_no_job_is_lost_and_only_what_ran_at_a_kill_runs_again(fragile: RabbitScene) -> None:
    scene, rng = fragile, Random(1)
    sent: set[str] = set()

    async def send(number: int) -> None:
        """Enqueue so many jobs, each again as long as it is not known to be accepted."""
        new = [f"job-{each}" for each in range(len(sent), len(sent) + number)]
        jobs = [brief.message(name, rng.uniform(0, 0.05)) for name in new]
        sent.update(new)

        async def accepted() -> bool:
            try:
                await scene.app.enqueue_many(jobs)
            except (EnqueueUnknown, StoreError):
                return False
            return True

        await until(accepted, "the jobs are accepted")

    with scene.start(processes=3, concurrency=10) as running:
        for kill in range(1, KILLS + 1):
            await send(100)
            await scene.some_ended(100 * (kill - 1))
            if kill % 10 == 0:
                await asyncio.to_thread(scene.server.kill)
                await asyncio.to_thread(scene.server.start)
            elif workers := running.workers():
                psutil.Process(rng.choice(workers)).kill()
        await scene.ended(*sent)
        await scene.done()
    began, ended = scene.ledger.names("start"), scene.ledger.names("end")
    assert ended.keys() == sent
    again = sum(began.values()) - len(sent)
    # At a kill of a worker its ten runs, at one of the server all thirty and what was enqueued twice.
    assert again <= 10 * KILLS + 130 * (KILLS // 10)
    print(f"{len(sent)} jobs, {KILLS} kills, {again} runs more")
