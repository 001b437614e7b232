"""One worker that fires schedules and runs nothing: `python -m tests.faults.schedules.child FILE SCHEDULES`.

Its ids have a random tail, so that no id that is known already hides a tick that was published twice.
"""

from __future__ import annotations

import asyncio
import sys
from uuid import uuid4

from outlast import Outlast, Settings
from outlast.core.spread import written
from outlast.scheduler import planned
from outlast.worker import Worker

__all__ = ["EVERY", "make_app"]

EVERY = 0.1


def _random_id(queue: str, name: str, tick: float, *, asked: bool = False) -> str:
    return f"{queue}.{name}@{written(tick)}/{uuid4().hex[:12]}"


def make_app(path: str, schedules: int) -> Outlast:
    """Return an app whose schedules each tick ten times a second, into a queue that nobody works on."""
    app = Outlast("proof", settings=Settings(url=f"sqlite:{path}"))

    async def tick(number: int) -> None:
        """Never run."""

    job = app.job(queue="ticks")(tick)
    app.queue("idle")
    for number in range(schedules):
        app.schedule(every=EVERY, misfire="all", misfire_limit=10_000, name=f"s{number}", args=(number,))(job)
    return app


async def _work(app: Outlast) -> None:
    worker = Worker(await app.runtime(), queues=["idle"])
    working = asyncio.create_task(worker.run(asyncio.Event()))
    while not worker.ready:
        await asyncio.sleep(0.01)
    sys.stdout.write("working\n")
    sys.stdout.flush()
    await working


if __name__ == "__main__":
    vars(planned)["tick_id"] = _random_id
    asyncio.run(_work(make_app(sys.argv[1], int(sys.argv[2]))))
