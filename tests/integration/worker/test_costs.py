"""What the jobs of a worker cost is in the store when it has stopped: each run once, by kind and tenant."""

from __future__ import annotations

import asyncio
import time

from outlast import Constant, Outlast, Retry
from outlast.core.history import Cost
from tests.support.apps.isolated_app import build_jobs
from tests.support.working import new_app, record, working


def burn(seconds: float) -> None:
    """Use so much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def costs_of(app: Outlast) -> dict[tuple[str, str], Cost]:
    """Return what the store of the app has, by kind and tenant."""
    found = await (await app.runtime()).store.history.costs(1)
    return {(each.kind, each.tenant): each for each in found}


async def test_each_run_is_counted_for_its_tenant(url: str) -> None:
    app = new_app(url, measure=True)
    tries: list[int] = []

    @app.job(key="tenant", retry=Retry(attempts=2, backoff=Constant(0)))
    async def send(tenant: str, text: str = "") -> str:
        burn(0.002)  # less than what a record keeps
        tries.append(1)
        if text == "fails" and len(tries) == 1:
            raise ValueError
        return "done"

    @app.job
    def render() -> None:
        burn(0.03)

    async with app:
        async with working(app):
            await record(app, await send.enqueue("ann", "fails"))
            jobs = [await send.enqueue(tenant) for tenant in ("ann", "bob", "bob")]
            for job in (*jobs, await render.enqueue()):
                await record(app, job)
        found = await costs_of(app)
    assert {key: each.runs for key, each in found.items()} == {
        ("send", "ann"): 3,
        ("send", "bob"): 2,
        ("render", ""): 1,
    }
    assert 0.006 <= found["send", "ann"].cpu < 0.5
    assert found["render", ""].cpu >= 0.03
    assert found["render", ""].wall >= 0.03
    bob = found["send", "bob"]
    assert bob.bytes == 2 * len(b'{"tenant":"bob"}') + 2 * len(b'"done"')


async def test_cpu_of_a_process_of_its_own_is_counted_also_when_the_job_runs_again(isolated: Outlast) -> None:
    async with working(isolated, target="tests.support.apps.isolated_app:app", processes=1):
        await record(isolated, await build_jobs["fails"].enqueue("lookup"))
    found = await costs_of(isolated)
    assert found["fails", ""].runs == 2
    assert 0 < found["fails", ""].cpu < 30


async def test_a_run_that_never_began_costs_nothing(url: str) -> None:
    app = new_app(url, concurrency=1)
    begun = asyncio.Event()

    @app.job
    async def wait() -> None:
        begun.set()
        await asyncio.sleep(600)

    async with app:
        for _ in range(3):
            await wait.enqueue()
        async with working(app) as worker:
            await begun.wait()
            worker.end_grace()
        found = await costs_of(app)
    assert {key: each.runs for key, each in found.items()} == {("wait", ""): 1}
