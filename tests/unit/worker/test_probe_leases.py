"""The lease of a probe whose run takes long to its first call."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest

from outlast import Breaker, Guard
from outlast.core.errors import GuardOpen
from outlast.resilience.gate import Gate, Probe
from outlast.resilience.passes import with_passes
from outlast.worker.isolation.messages import ChildCalls
from outlast.worker.isolation.pool import _PoolChild
from outlast.worker.probe_leases import ProbeLeases
from tests.support.fake_time import FakeTime, fake_time


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    return fake_time(monkeypatch)


class Scene:
    """A run with the probe of a guard, whose lease is 10 s."""

    def __init__(self, time: FakeTime) -> None:
        breaker = Breaker(minimum=1, window=1, open_for=5, probe_lease=10, ramp=0)
        self.guard = Guard("payments", breaker=breaker, clock=time.now)
        self.gate = Gate(self.guard)
        self.run: Any = SimpleNamespace(ended=False)

    async def begun(self) -> Probe:
        """Open the guard, take its probe when it is due, and give it to the run."""
        with suppress(ConnectionError):
            await self.guard.call(fails)
        await asyncio.sleep(5)
        probe = await self.gate.take_probe()
        assert probe is not None
        ProbeLeases(asyncio.get_running_loop()).add(cast(Any, self.run), [probe])
        return probe


async def fails() -> None:
    raise ConnectionError("down")


async def works() -> None: ...


def test_a_run_that_takes_longer_than_the_lease_to_its_first_call_closes_the_guard(time: FakeTime) -> None:
    scene = Scene(time)

    async def main() -> None:
        probe = await scene.begun()
        for _ in range(10):
            await asyncio.sleep(9)
            assert await scene.gate.take_probe() is None
        await with_passes({"payments": probe}, asyncio.ensure_future, scene.guard.call(works))

    time.run(main)
    assert scene.guard.view().state == "closed"


def test_a_call_that_hangs_has_one_lease(time: FakeTime) -> None:
    scene = Scene(time)

    async def main() -> None:
        probe = await scene.begun()
        await asyncio.sleep(95)
        call = with_passes({"payments": probe}, asyncio.ensure_future, scene.guard.call(asyncio.sleep, 3600))
        await asyncio.sleep(9)
        assert await scene.gate.take_probe() is None
        await asyncio.sleep(2)
        other = await scene.gate.take_probe()
        assert other is not None
        other.end("success")
        call.cancel()

    time.run(main)
    assert scene.guard.view().state == "closed"


def test_the_call_of_a_child_process_ends_the_renewals(time: FakeTime) -> None:
    scene = Scene(time)

    async def main() -> None:
        child = _PoolChild(cast(Any, None), solo=True)
        child.run = scene.run
        scene.run.passes = {"payments": await scene.begun()}
        await asyncio.sleep(30)
        child.probed(ChildCalls("payments"))
        child.probed(ChildCalls("files"))
        await asyncio.sleep(9)
        assert await scene.gate.take_probe() is None
        await asyncio.sleep(2)
        assert await scene.gate.take_probe() is not None

    time.run(main)


def test_the_lease_of_a_run_that_has_ended_or_is_gone_lapses(time: FakeTime) -> None:
    scene = Scene(time)

    async def main() -> None:
        probe = await scene.begun()
        await asyncio.sleep(30)
        scene.run.ended = True
        await asyncio.sleep(11)
        assert await scene.gate.take_probe() is not None
        with pytest.raises(GuardOpen):
            await with_passes({"payments": probe}, asyncio.ensure_future, scene.guard.call(works))

    time.run(main)
