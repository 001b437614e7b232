"""Publishes and sweeps of large arguments, their steps in any order and at any time: no live job loses its object."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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

CASE = [each for each in CASES if each.name in ("memory", "sqlite", "redis")]
JUMPS = (0.0, 0.0, 0.0, 1000.0, 40_000.0, 50_000.0, 90_000.0, 200_000.0)
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
@settings(max_examples=150, deadline=None)
@given(
    order=st.lists(st.sampled_from(["publish", "publish", "sweep", "purge"]), min_size=2, max_size=6),
    data=st.data(),
)
def test_no_live_job_loses_its_object(case: StoreCase, order: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        asyncio.run(_steps(case, Path(name), order, data, patch))


async def _steps(case: StoreCase, path: Path, order: list[str], data: st.DataObject, patch: pytest.MonkeyPatch) -> None:
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
        return await delete(key, at, place)

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
            clock.advance(data.draw(st.sampled_from(JUMPS)))
            return data.draw(st.integers(0, waiting - 1))

        await turns.all(tasks, choose)
        for record in await store.get(sorted(live)):
            if record is not None:  # else a purge came last
                body = await runtime.claims.check_out(record.id, Raw(json.encode(record.args)))
                assert len(body) > 2000
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
