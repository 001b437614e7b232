"""Workers, and whole machines, that are killed while they settle: the totals equal the ledger, each job once."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import psutil
import pytest

from outlast.core.store.control import Cancel
from outlast.core.store.records import Query
from outlast.core.store.totals import OTHER, OUTCOMES
from tests.faults.kill.app import brief, poison
from tests.faults.kill.scene import Scene
from tests.support.polling import until
from tests.support.servers.redis_server import RedisServer

JOBS: Final = 400
KILLS: Final = 12


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path}/jobs.db"
        return
    server = RedisServer()
    server.start()
    yield server.url
    server.remove()


@pytest.fixture
async def scene(tmp_path: Path, url: str) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path, url)
    await scene.app.runtime()
    yield scene
    await scene.app.close()
    print(scene.told())


def ended_at_least(scene: Scene, jobs: int) -> bool:
    return len(scene.ledger.names("end")) >= jobs


async def test_totals_equal_the_ledger_after_kills(scene: Scene) -> None:
    random = Random(13)
    store = (await scene.app.runtime()).store
    handles = await scene.app.send([brief.message(f"job-{n}", 0.005) for n in range(JOBS)])
    ids = [handle.id for handle in handles]
    assert {of[1] for of in await store.totals.totals()} >= {"brief", "poison", OTHER}
    later = await scene.app.send([brief.with_options(delay=3600).message("never", 0)])
    bad = await scene.enqueue(poison, "poison")
    done = 0
    while done < KILLS:
        with scene.start(processes=2, concurrency=10) as running:
            for _ in range(4):
                done += 1
                await until(partial(ended_at_least, scene, done * JOBS // (KILLS + 2)), "they work")
                with suppress(psutil.NoSuchProcess, IndexError):
                    psutil.Process(random.choice(running.workers())).kill()
            running.signal_all(signal.SIGKILL)
            running.process.wait()
    with scene.start(processes=2, concurrency=10):
        records = await scene.records([*ids, bad])
    await store.control.apply([Cancel(later[0].id)])
    states = Counter((each.kind, each.state) for each in records)
    ended = {of[1:]: count for of, count in (await store.totals.totals()).items() if count}
    assert ended == {**states, ("brief", "cancelled"): 1}
    assert ended["brief", "succeeded"] == len(scene.ledger.names("end")) == JOBS
    assert ended["poison", "dead"] == 1
    assert sum(ended.values()) == sum((await store.records.count(Query())).values())
    assert {of[2] for of in await store.totals.totals() if of[1] == "brief"} == set(OUTCOMES)
    runs = sum(scene.ledger.names("start").values())
    print(f"{JOBS} jobs, {done + KILLS // 4} kills, {runs} runs, {ended}")
