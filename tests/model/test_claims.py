"""Publishes and sweeps of large arguments, their steps in any order and at any time: no live job loses its object."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import Raw, json

from outlast import Outlast
from outlast.core.store.control import Purge
from outlast.core.store.store import Store
from outlast.settings import Settings
from outlast.testing.clock import FakeClock
from outlast.toolkit.objects import claims as claims_module
from outlast.toolkit.objects.claims import Claims
from outlast.toolkit.objects.memory import ObjectMemory
from outlast.toolkit.objects.place import Source
from outlast.worker import claim_sweep
from outlast.worker.claim_sweep import ClaimSweep
from outlast.worker.store_link import StoreLink
from tests.support.stores import CASES, StoreCase

HISTORIES = {"memory": 600, "sqlite": 40, "redis": 100, "cluster": 30}
CASE = [each for each in CASES if each.name in HISTORIES]
JUMPS = (*(0.0,) * 8, 1000.0, 40_000.0, 50_000.0, 90_000.0)
"""Seconds that pass between two steps: `objects_keep` is 86,400."""


class Turns:
    """Lets tasks that wait for their turn go on one after the other, in an order that the test draws."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def next(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    async def all(self, tasks: list[asyncio.Task[None]], choose: Callable[[int], int]) -> None:
        while running := [task for task in tasks if not task.done()]:
            if len(self._waiting) < len(running):
                await asyncio.sleep(0)
            else:
                self._waiting.pop(choose(len(self._waiting))).set_result(None)
        for task in tasks:
            task.result()


class SteppedMemory(ObjectMemory):
    """Objects in memory whose puts are steps."""

    def __init__(self, clock: FakeClock, turns: Turns) -> None:
        super().__init__(clock)
        self._turns = turns

    async def put(self, key: str, source: Source, content_type: str) -> None:
        await self._turns.next()
        await super().put(key, source, content_type)
        await self._turns.next()


@pytest.mark.parametrize("case", CASE, ids=[each.name for each in CASE])
def test_no_live_job_loses_its_object(case: StoreCase, tmp_path: Path) -> None:
    deleted = 0
    for seed in range(HISTORIES[case.name]):
        with pytest.MonkeyPatch.context() as patch:
            deleted += asyncio.run(_history(case, tmp_path / str(seed), Random(seed), patch))
    assert deleted >= HISTORIES[case.name] // 20, f"{deleted}: the sweeps had something to do"


async def _history(case: StoreCase, path: Path, rng: Random, patch: pytest.MonkeyPatch) -> int:
    """Return the number of objects that sweeps have deleted; AssertionError if one of them was that of a live job."""
    path.mkdir()
    order = [
        "publish",
        "sweep",
        *(rng.choice(("publish", "publish", "sweep", "purge")) for _ in range(rng.randrange(4))),
    ]
    rng.shuffle(order)
    clock, turns = FakeClock(), Turns()
    app = Outlast("tests")

    @app.job(queue="work")
    async def take(text: str) -> None: ...

    store = case.make(path, clock, 1_000_000)
    await store.open()
    wired = app._wire(
        Settings(url="memory:", objects_over=1000, enqueue_timeout=1000), clock, lambda *_: Store.of(store, "test:")
    )
    app._wiring = wired
    runtime = await app.runtime()
    place = SteppedMemory(clock, turns)
    patch.setattr(runtime.claims.link, "_places", {os.getpid(): place})
    patch.setattr(Claims, "moment", lambda _: clock.monotonic())
    publish = store.publish

    async def slowly(messages: Any) -> Any:
        await turns.next()
        answers = await publish(messages)
        await turns.next()
        return answers

    patch.setattr(store, "publish", slowly)
    delete = claim_sweep._delete_old

    async def delete_old(key: str, at: float, place: Any) -> bool:
        await turns.next()
        gone = await delete(key, at, place)
        deleted.append(gone)
        return gone

    deleted: list[bool] = []
    patch.setattr(claim_sweep, "_delete_old", delete_old)
    patch.setattr(claims_module, "LATE", 0.0)
    live: set[str] = set()

    async def act(number: int, what: str) -> None:
        await turns.next()
        job_id = f"work.{number % 2}"
        if what == "publish":
            await take.with_options(id=job_id).enqueue(f"{number}" * 2000)
            live.add(job_id)
        elif what == "purge":
            live.discard(job_id)
            await store.apply([Purge(job_id)])
        else:
            link = StoreLink(Store.of(store, "test:"), clock, Random(1), reconnect=None, patience=30)
            await Sweep(turns, runtime.claims, link).sweep()

    try:
        tasks = [asyncio.create_task(act(number, what)) for number, what in enumerate(order)]

        def choose(waiting: int) -> int:
            clock.advance(rng.choice(JUMPS))
            return rng.randrange(waiting)

        await turns.all(tasks, choose)
        for record in await store.get(sorted(live)):
            if record is not None:  # else a purge came last
                body = await runtime.claims.check_out(record.id, Raw(json.encode(record.args)))
                assert len(body) > 2000
        return sum(deleted)
    finally:
        await app.close()
        await store.close()


class Sweep(ClaimSweep):
    """A sweep whose questions are steps."""

    def __init__(self, turns: Turns, claims: Claims, link: StoreLink) -> None:
        super().__init__(claims, link, {"work"}, Random(1), again=0.0)
        self._turns = turns

    async def _unknown(self, keys: Any) -> list[str]:
        await self._turns.next()
        found = await super()._unknown(keys)
        await self._turns.next()
        return found
