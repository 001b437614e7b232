"""The gates of a worker: what it asks of queues that need guards, when it looks for a job to probe with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest

from outlast import Breaker, Guard, Outlast
from outlast.core.errors import StoreUnavailable
from outlast.core.message import Delivery, Fence
from outlast.core.settlement import Release
from outlast.core.store.broker import QueueStats
from outlast.resilience.passes import RampPass, passes_here, with_passes
from outlast.testing.clock import FakeClock
from outlast.worker.budget import Budget, EndedRun
from outlast.worker.effects import EffectKeeper
from outlast.worker.executor import Executor
from outlast.worker.gates import Gates, gates_of
from outlast.worker.report import Reporter
from outlast.worker.run import Run
from tests.support.polling import until
from tests.support.working import new_app

INTERVAL = 0.05
LONG = 3600.0


class Link:
    """A link to a store that counts the looks, and has the counts that it is given."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.looks: list[tuple[str, ...]] = []
        self.found: dict[str, QueueStats] = {}
        self.away = False
        self.hang: asyncio.Event | None = None
        self.broker = self

    async def once(self, call: Any) -> Any:
        return await call(self)

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        self.looks.append(tuple(sorted(queues)))
        if self.hang is not None:
            await self.hang.wait()
        if self.away:
            raise StoreUnavailable("away")
        return {name: self.found[name] for name in queues if name in self.found}


class Scene:
    """An app with two guards, a queue that needs one, one that needs both, and one that needs none."""

    def __init__(self, **breaker: Any) -> None:
        policy = {"minimum": 1, "window": 1, "open_for": INTERVAL, "probe_lease": LONG, "ramp": 0.0, **breaker}
        self.shop = new_app("memory:")
        self.payments = self.shop.guard("payments", breaker=Breaker(**policy))
        self.files = self.shop.guard("files", breaker=Breaker(**policy))
        self.shop.queue("one", needs=["payments"])
        self.shop.queue("both", needs=["payments", "files"])
        self.link = Link()
        for queue in ("one", "both", "free"):
            self.shop.job(kind=queue, queue=queue)(works)
        self.budget = Budget(self.shop.composer, concurrency=20, threads=5, processes=1)

    async def begun(self) -> Gates:
        gates = gates_of(self.shop.registry, ["one", "both", "free"], self.budget, cast(Any, self.link))
        assert gates is not None
        await gates.begin()
        return gates

    def demand(self) -> dict[str, int]:
        return self.budget.demand(["one", "both", "free"])[0]

    def run_of(self, queue: str) -> Run:
        message = self.shop.composer.message(self.shop.registry.declarations[queue])
        run = Run(Delivery(message, Fence(message.id, queue, 1)), None, self.budget.loop, cast(Any, None), 0.0)
        self.budget.hold(run)
        return run


async def works() -> None: ...


async def fails() -> None:
    raise ConnectionError("down")


async def opens(*guards: Guard) -> None:
    for guard in guards:
        with suppress(ConnectionError):
            await guard.call(fails)
    await turns()


async def spoils(guard: Guard) -> None:
    """Open a guard, without a turn of the loop."""
    with suppress(ConnectionError):
        await guard.call(fails)


async def turns() -> None:
    """Let the callbacks run that other threads could have set."""
    for _ in range(3):
        await asyncio.sleep(0)


@asynccontextmanager
async def gated(scene: Scene) -> AsyncIterator[Gates]:
    gates = await scene.begun()
    try:
        yield gates
    finally:
        gates.close()


async def test_queues_without_needs_have_no_gates() -> None:
    scene = Scene()
    assert gates_of(scene.shop.registry, ["free"], scene.budget, cast(Any, scene.link)) is None


async def test_a_queue_is_asked_nothing_while_any_of_its_guards_is_open() -> None:
    scene = Scene(open_for=LONG)
    shut: list[tuple[str, str]] = []
    async with gated(scene) as gates:
        gates.shut = lambda queue, why: shut.append((queue, why))
        assert not gates.active
        await opens(scene.files)
        assert (gates.active, shut) == (True, [("both", "waits for files")])
        assert await gates.bounded(scene.demand()) == {"one": 20, "both": 0, "free": 20}
        await opens(scene.payments)
        assert shut[1:] == [("one", "waits for payments")]
        assert gates.why("both") == "waits for payments, files"
        assert [gates.holds(queue) for queue in ("one", "both", "free")] == [True, True, False]
        assert await gates.bounded(scene.demand()) == {"one": 0, "both": 0, "free": 20}
        scene.payments.hold("closed")
        await turns()
        assert await gates.bounded(scene.demand()) == {"one": 20, "both": 0, "free": 20}
    assert scene.link.looks == []


async def test_what_is_handed_out_while_the_guard_is_open_goes_back_at_once() -> None:
    scene = Scene(open_for=LONG)
    settled: list[EndedRun] = []
    async with gated(scene) as gates:
        runtime = await scene.shop.runtime()
        executor = Executor(
            runtime,
            scene.budget,
            Reporter(runtime),
            settle=lambda run, settlement: settled.append((run, settlement)),
            noted=lambda run: None,
            effects=EffectKeeper(lambda call: call(runtime.store), lambda lost: None),
            pool=cast(Any, None),
            gates=gates,
        )
        await opens(scene.payments)
        messages = [scene.shop.composer.message(scene.shop.registry.declarations[each]) for each in ("one", "free")]
        executor.accept([Delivery(each, Fence(each.id, each.queue, 1)) for each in messages])
        (first,) = [settlement for _, settlement in settled if settlement.fence.queue == "one"]
        assert first == Release(Fence(messages[0].id, "one", 1), why="waits for payments")
        (other,) = [run for run in scene.budget.runs if run.delivery.message.queue == "free"]
        await until(lambda: other.ended, "the job of the other queue runs")
        executor.close()
    await scene.shop.close()


async def test_a_run_that_starts_at_the_end_of_another_has_not_its_passes() -> None:
    scene = Scene()
    seen: list[object] = []
    async with gated(scene) as gates:
        gates.used = True

        @scene.shop.job(queue="free")
        async def looks() -> None:
            seen.append(passes_here())

        runtime = await scene.shop.runtime()
        executor = Executor(
            runtime,
            scene.budget,
            Reporter(runtime),
            settle=lambda run, settlement: None,
            noted=lambda run: None,
            effects=EffectKeeper(lambda call: call(runtime.store), lambda lost: None),
            pool=cast(Any, None),
            gates=gates,
        )
        message = looks.message()
        with_passes({"payments": RampPass()}, executor.accept, [Delivery(message, Fence(message.id, "free", 1))])
        await until(lambda: seen, "it runs")
        assert seen == [None]
        executor.close()
    await scene.shop.close()


# The probe


@pytest.mark.parametrize(
    "found",
    [
        None,
        QueueStats(depth=1, scheduled=1),
        QueueStats(depth=1, ready=1, paused=True),
        QueueStats(depth=1, ready=1, held="rate"),
    ],
)
async def test_without_a_job_to_run_no_probe_is_taken(found: QueueStats | None) -> None:
    scene = Scene()
    if found is not None:
        scene.link.found = {"one": found, "both": found}
    async with gated(scene) as gates:
        await opens(scene.payments)
        await until(lambda: len(scene.link.looks) > 2, "it looked thrice")
        assert await gates.bounded(scene.demand()) == {"one": 0, "both": 0, "free": 20}
        assert scene.payments.view().state == "open"


async def test_a_store_that_is_away_is_asked_again_after_an_interval() -> None:
    scene = Scene()
    scene.link.away = True
    async with gated(scene):
        await opens(scene.payments)
        await until(lambda: len(scene.link.looks) > 1, "it looked twice")


async def test_one_queue_gets_the_probe_and_asks_for_one_job() -> None:
    scene = Scene()
    ready = QueueStats(depth=5, ready=5)
    scene.link.found = {"one": ready, "both": ready}
    async with gated(scene) as gates:
        await opens(scene.payments)
        await until(lambda: scene.link.looks, "it looked")
        await turns()
        demand = await gates.bounded(scene.demand())
        assert sorted((demand["one"], demand["both"])) == [0, 1]
        assert scene.payments.view().state == "half-open"
        (queue,) = (each for each in ("one", "both") if demand[each])
        assert not gates.holds(queue)
        run = scene.run_of(queue)
        assert gates.admits(run)
        assert run.passes is not None
        assert run.passes["payments"].probes
        assert not gates.admits(scene.run_of(queue))  # there is but one
        assert (await gates.bounded(scene.demand()))[queue] == 0
        run.passes["payments"].end("success")
        await turns()
        assert not gates.active
        assert await gates.bounded(scene.demand()) == scene.demand()
        assert gates.admits(other := scene.run_of(queue))
        assert other.passes is None


async def test_a_queue_with_two_open_guards_probes_both_or_none() -> None:
    scene = Scene()
    scene.link.found = {"both": QueueStats(depth=5, ready=5)}
    async with gated(scene) as gates:
        await opens(scene.payments, scene.files)
        scene.files.hold("open")
        await until(lambda: len(scene.link.looks) > 1, "it looked for the other queue")
        assert not any("both" in look for look in scene.link.looks)
        scene.files.hold("")
        await opens(scene.files)
        await until(lambda: any("both" in look for look in scene.link.looks), "it looked")
        await turns()
        assert (await gates.bounded(scene.demand()))["both"] == 1
        assert (scene.payments.view().state, scene.files.view().state) == ("half-open", "half-open")
        run = scene.run_of("both")
        assert gates.admits(run)
        assert run.passes is not None
        assert {name: each.probes for name, each in run.passes.items()} == {"payments": True, "files": True}


async def taken(scene: Scene, gates: Gates) -> None:
    """Take the probe for queue one."""
    scene.link.found = {"one": QueueStats(depth=5, ready=5)}
    await opens(scene.payments)
    await until(lambda: scene.link.looks, "it looked")
    await turns()
    assert (await gates.bounded(scene.demand()))["one"] == 1


async def test_a_probe_is_given_back_when_a_claim_finds_no_job_for_it() -> None:
    scene = Scene()
    async with gated(scene) as gates:
        await taken(scene, gates)
        gates.claimed({"one": 0, "free": 3}, handed_out=False)
        gates.claimed({"one": 1, "free": 3}, handed_out=True)
        assert scene.payments.view().state == "half-open"
        gates.claimed({"one": 1, "free": 3}, handed_out=False)
        assert scene.payments.view().state == "open"
        assert (await gates.bounded(scene.demand()))["one"] == 0


async def test_a_probe_is_not_kept_for_longer_than_half_of_its_lease() -> None:
    scene = Scene(probe_lease=10)
    async with gated(scene) as gates:
        await taken(scene, gates)
        scene.link.clock.advance(5)
        assert (await gates.bounded(scene.demand()))["one"] == 0
        gates.claimed({"one": 1}, handed_out=True)
        assert scene.payments.view().state == "open"


async def test_the_end_of_the_worker_gives_the_probe_back() -> None:
    scene = Scene()
    async with gated(scene) as gates:
        await taken(scene, gates)
    assert scene.payments.view().state == "open"
    looks = len(scene.link.looks)
    await opens(scene.payments)
    assert len(scene.link.looks) == looks


async def test_a_probe_goes_back_when_another_guard_of_the_queue_opens() -> None:
    scene = Scene()
    scene.link.found = {"both": QueueStats(depth=5, ready=5)}
    async with gated(scene) as gates:
        await opens(scene.payments)
        await until(lambda: scene.link.looks, "it looked")
        await turns()
        assert (await gates.bounded(scene.demand()))["both"] == 1
        await opens(scene.files)
        assert gates.holds("both")
        assert scene.payments.view().state == "open"
        assert gates.bound(scene.demand())["both"] == 0


async def test_no_job_is_asked_for_after_one_that_could_not_be_the_probe() -> None:
    scene = Scene()
    scene.link.found = {"both": QueueStats(depth=5, ready=5)}
    async with gated(scene) as gates:
        await opens(scene.payments)
        await until(lambda: scene.link.looks, "it looked")
        await turns()
        assert (await gates.bounded(scene.demand()))["both"] == 1
        run = scene.run_of("both")
        await spoils(scene.files)
        gates._states.clear()
        assert not gates.admits(run)  # before the worker is told of the change
        assert scene.payments.view().state == "open"
        assert gates.bound(scene.demand())["both"] == 0  # or it would be claimed and released in a loop


async def test_queues_that_need_the_same_guard_try_for_its_probe_in_turn() -> None:
    scene = Scene()
    ready = QueueStats(depth=5, ready=5)
    scene.link.found = {"one": ready, "both": ready}
    tried: list[str] = []
    async with gated(scene) as gates:
        await opens(scene.payments)
        for _ in range(4):  # neither finds a job, such as of a queue whose keys are all in use
            looks = len(scene.link.looks)
            await until(lambda seen=looks: len(scene.link.looks) > seen, "it looked")  # type: ignore[misc]
            await turns()
            demand = await gates.bounded(scene.demand())
            tried += [queue for queue in ("one", "both") if demand[queue]]
            gates.claimed(demand, handed_out=False)
    assert tried in (["one", "both"] * 2, ["both", "one"] * 2)


async def test_a_look_that_hangs_does_not_wake_the_worker_again_and_again() -> None:
    scene = Scene()
    async with gated(scene) as gates:
        hang = asyncio.Event()
        scene.link.hang = hang
        await opens(scene.payments)
        await until(lambda: scene.link.looks, "it looked")
        assert gates._timer is not None
        assert gates._timer.when() - asyncio.get_running_loop().time() > LONG / 2
        hang.set()
        await until(lambda: len(scene.link.looks) > 1, "it looks again")


# The ramp


async def test_in_a_ramp_a_queue_holds_a_share_of_its_slots() -> None:
    scene = Scene(ramp=LONG)
    async with gated(scene) as gates:
        scene.payments.hold("open")
        scene.payments.hold("")
        await turns()
        assert gates.active
        assert await gates.bounded(scene.demand()) == {"one": 2, "both": 2, "free": 20}
        runs = [scene.run_of("one") for _ in range(2)]
        assert all(gates.admits(run) for run in runs)
        assert runs[0].passes is not None
        assert not runs[0].passes["payments"].probes
        demand = await gates.bounded(scene.demand())
        assert (demand["one"], demand["both"]) == (0, 2)


async def test_a_share_is_of_the_slots_that_the_queue_can_use() -> None:
    shop = Outlast("shop")
    shop.guard("payments", breaker=True)
    shop.queue("threads", needs=["payments"])
    shop.job(kind="plain", queue="threads")(plain)
    budget = Budget(shop.composer, concurrency=20, threads=5, processes=1)
    assert (budget.slots("threads"), budget.slots("unknown")) == (5, 20)


def plain() -> None: ...
