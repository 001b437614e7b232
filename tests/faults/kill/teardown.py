"""Kills workers at random moments while they tear down, and counts what became of their jobs."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.faults.kill.app import brief
from tests.faults.kill.scene import Scene, exited
from tests.support.polling import until

__all__ = ["Toll", "kill_while_tearing_down"]

_JOBS: Final = 8
"""New jobs in each round."""


@dataclass
class Toll:
    """hits: kills that met a worker that was still there. lost: jobs that did not succeed with their first attempt."""

    rounds: int = 0
    hits: int = 0
    jobs: int = 0
    lost: int = 0
    too_often: int = 0


async def kill_while_tearing_down(scene: Scene, *, rounds: int, seed: int) -> Toll:
    """Stop a supervisor and kill its worker (sometimes the supervisor too) in the drain, so many times; then finish.

    Half of the jobs end within the grace of the stop; the others are handed back.
    """
    rng, toll, ids = random.Random(seed), Toll(), []
    environ = dict(scene.environ)
    scene.environ["OUTLAST_FAULTS_DRAIN_GRACE"] = "0.3"
    for number in range(rounds):
        names = [f"{number}-{each}" for each in range(_JOBS)]
        ids += [await scene.enqueue(brief, name, rng.choice((0.1, 1.5))) for name in names]
        with scene.start() as running:
            await scene.started(rng.choice(names))
            workers = running.workers()
            running.process.terminate()
            await asyncio.sleep(rng.uniform(0, 0.6))
            victims = [*workers, running.process.pid] if rng.random() < 0.25 else workers
            for pid in victims:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    toll.hits += pid != running.process.pid
            await until(lambda process=running.process: process.poll() is not None, "the supervisor ends")  # type: ignore[misc]
        toll.rounds += 1
    scene.environ.update(environ)
    with scene.start() as running:
        found = await scene.records(ids, within=120)
        running.process.terminate()
        await exited(running)
    starts, ends = scene.ledger.names("start"), scene.ledger.names("end")
    toll.jobs = len(found)
    toll.lost = sum((each.state, each.attempt) != ("succeeded", 1) for each in found)
    toll.lost += sum(not ends[f"{number}-{each}"] for number in range(rounds) for each in range(_JOBS))
    toll.too_often = sum(times > 1 + toll.rounds for times in starts.values())
    return toll
