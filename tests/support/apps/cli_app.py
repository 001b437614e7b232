"""The jobs of the projects that the command line is tried on, and a store with some of them in it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from outlast import Constant, Context, Job, JobFailed, Outlast, Redacted, Retry, Settings
from outlast.worker import Worker

__all__ = ["SECRET", "Jobs", "Seeded", "declare", "seed"]

SECRET = "correct-horse"


class Jobs(NamedTuple):
    """What is declared."""

    send: Job[Any, Any]
    fail: Job[Any, Any]
    wait: Job[Any, Any]
    tiny: Job[Any, Any]


def declare(shop: Outlast) -> Jobs:
    """Declare the jobs: queue `mail` with two kinds, `slow` with one, and a bounded one."""
    shop.queue("small", max_depth=1)

    @shop.job(queue="mail", key="email")
    async def send(order: int, email: str, password: Annotated[str, Redacted] = "") -> str:
        return f"sent {order}"

    @shop.job(queue="mail", retry=Retry(attempts=2, backoff=Constant(0)))
    async def fail(order: int, password: Annotated[str, Redacted]) -> None:
        raise ValueError(f"no luck\x1b[31m with {password}")

    @shop.job(queue="slow", key="who")
    async def wait(ctx: Context, who: str, seconds: float = 0.0) -> None:
        await asyncio.sleep(seconds)

    @shop.job(queue="small")
    async def tiny() -> None:
        return

    return Jobs(send, fail, wait, tiny)


@dataclass(frozen=True)
class Seeded:
    """The ids of what was enqueued: one job in each state that can be had without waiting."""

    succeeded: str
    dead: str
    ready: str
    scheduled: str
    full: str


def seed(url: str) -> Seeded:
    """Enqueue one job of each sort and run those of queue `mail`."""
    return asyncio.run(_seed(url))


async def _seed(url: str) -> Seeded:
    shop = Outlast("shop", settings=Settings(url=url))
    jobs = declare(shop)
    async with shop:
        succeeded = await jobs.send.with_options(id="first").enqueue(1, "a@b.c", SECRET)
        dead = await jobs.fail.enqueue(2, SECRET)
        ready = await jobs.wait.enqueue("ann")
        scheduled = await jobs.wait.with_options(delay=3600).enqueue("bob")
        full = await jobs.tiny.enqueue()
        stop = asyncio.Event()
        working = asyncio.create_task(Worker(await shop.runtime(), queues=["mail"]).run(stop))
        await succeeded.result(30)
        try:
            await dead.result(30)
        except JobFailed:
            stop.set()
        await working
    return Seeded(succeeded.id, dead.id, ready.id, scheduled.id, full.id)
