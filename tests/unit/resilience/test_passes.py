"""What the passes of a run let its guarded calls do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import pytest

from outlast import Breaker, Guard
from outlast.core.errors import GuardOpen
from outlast.core.guards.answers import Admission, CallOutcome
from outlast.resilience.gate import Gate, Probe
from outlast.resilience.passes import GivenProbe, Pass, RampPass, pass_of, passes_here, with_passes

LONG = 3600.0


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A guard that one failed call opens."""

    def __init__(self, *, ramp: float = 0.0, slow: float | None = None) -> None:
        self.clock = Clock()
        slow_rate = None if slow is None else 0.5
        breaker = Breaker(minimum=1, window=1, open_for=5, probe_lease=10, ramp=ramp, slow=slow, slow_rate=slow_rate)
        self.guard = Guard("payments", breaker=breaker, clock=self.clock)
        self.gate = Gate(self.guard)
        self.changes = 0

    def changed(self) -> None:
        """Count a change."""
        self.changes += 1

    async def call(self, error: Exception | None = None) -> None:
        """Make a call."""

        async def dependency() -> None:
            if error is not None:
                raise error

        await self.guard.call(dependency)

    async def fail(self) -> None:
        """Make a call that fails, or is refused."""
        with suppress(ConnectionError):
            await self.call(ConnectionError("down"))

    async def probe(self) -> Probe:
        """Open it, and take the probe when it is due."""
        await self.fail()
        self.clock.now += 5
        probe = await self.gate.take_probe()
        assert probe is not None
        return probe


def nothing() -> None:
    """Do nothing."""


async def passed(passes: Mapping[str, Pass], scene: Scene, error: Exception | None = None) -> None:
    """Make a call in a run with these passes."""
    await with_passes(passes, asyncio.ensure_future, scene.call(error))


def test_passes_are_those_of_the_run() -> None:
    ramp = RampPass()
    assert with_passes({"payments": ramp}, pass_of, "payments") is ramp
    assert with_passes({"payments": ramp}, pass_of, "files") is None
    assert passes_here() is None
    assert pass_of("payments") is None


async def test_a_probe_is_there_only_when_it_is_due() -> None:
    scene = Scene()
    assert await scene.gate.take_probe() is None
    await scene.fail()
    assert scene.gate.state().next_probe == pytest.approx(5)
    assert await scene.gate.take_probe() is None
    scene.clock.now += 5
    assert await scene.gate.take_probe() is not None
    assert scene.gate.state().next_probe is None
    assert await scene.gate.take_probe() is None
    scene.guard.hold("open")
    scene.clock.now += 100
    assert await scene.gate.take_probe() is None


async def test_the_first_call_of_the_run_is_the_probe_and_decides() -> None:
    scene = Scene(ramp=LONG)
    passes = {"payments": await scene.probe()}
    with pytest.raises(GuardOpen):
        await scene.call()
    await passed(passes, scene)
    assert scene.guard.view().state == "closed"
    for _ in range(20):  # the ramp refuses no further call of this run
        await passed(passes, scene)
    passes["payments"].end("failure")
    assert scene.guard.view().state == "closed"


async def test_no_call_follows_a_probe_that_failed() -> None:
    scene = Scene()
    passes = {"payments": await scene.probe()}
    with pytest.raises(ConnectionError):
        await passed(passes, scene, ConnectionError("down"))
    with pytest.raises(GuardOpen):
        await passed(passes, scene)
    assert scene.gate.state().next_probe == pytest.approx(5)


async def test_a_probe_whose_lease_has_ended_makes_no_call() -> None:
    scene = Scene()
    passes = {"payments": await scene.probe()}
    scene.clock.now += 10
    other = await scene.gate.take_probe()
    assert other is not None
    with pytest.raises(GuardOpen):
        await passed(passes, scene)
    other.end("success")
    assert scene.guard.view().state == "closed"


async def test_a_lease_that_is_renewed_lasts_until_the_call_which_has_a_whole_one() -> None:
    scene = Scene()
    passes = {"payments": await scene.probe()}
    for _ in range(4):
        scene.clock.now += 9
        passes["payments"].renew()
    assert await scene.gate.take_probe() is None
    scene.clock.now += 9

    async def dependency() -> None:
        scene.clock.now += 9

    await with_passes(passes, asyncio.ensure_future, scene.guard.call(dependency))
    assert scene.guard.view().state == "closed"


async def test_the_lease_of_a_probe_that_has_its_call_is_renewed_no_more() -> None:
    scene = Scene()
    passes = {"payments": await scene.probe()}

    async def hangs() -> None:
        for _ in range(2):
            scene.clock.now += 5
            passes["payments"].renew()
        assert await scene.gate.take_probe() is not None

    await with_passes(passes, asyncio.ensure_future, scene.guard.call(hangs))
    assert scene.guard.view().state == "half-open"
    assert not passes["payments"].waits


async def test_a_call_in_a_child_process_ends_the_renewals_too() -> None:
    scene = Scene()
    probe = await scene.probe()
    scene.clock.now += 9
    probe.calls()  # with a lease of its own
    scene.clock.now += 9
    assert await scene.gate.take_probe() is None
    probe.renew()
    scene.clock.now += 1
    assert await scene.gate.take_probe() is not None


@pytest.mark.parametrize(("outcome", "state"), [("success", "closed"), ("failure", "open"), ("neutral", "open")])
async def test_the_end_of_the_run_decides_a_probe_that_made_no_call(outcome: str, state: str) -> None:
    scene = Scene(slow=1)
    probe = await scene.probe()
    scene.clock.now += 9  # the run took long, which says nothing about the dependency
    probe.end(outcome)  # type: ignore[arg-type]
    assert scene.guard.view().state == state
    assert scene.gate.state().next_probe == (None if state == "closed" else 5 if outcome == "failure" else 0)


async def test_the_way_to_the_first_call_is_not_the_time_of_the_dependency() -> None:
    scene = Scene(slow=1)
    passes = {"payments": await scene.probe()}
    scene.clock.now += 9
    await passed(passes, scene)
    assert scene.guard.view().state == "closed"


async def test_a_pass_of_a_ramp_makes_no_call_of_an_open_guard() -> None:
    scene = Scene()
    await scene.fail()
    with pytest.raises(GuardOpen):
        await passed({"payments": RampPass()}, scene)


async def test_a_given_probe_makes_calls_until_one_fails_and_moves_nothing_here() -> None:
    scene = Scene()
    await scene.fail()
    begun: list[int] = []
    told: list[CallOutcome] = []
    passes = {"payments": GivenProbe(lambda: begun.append(1), told.append)}
    for _ in range(3):
        await passed(passes, scene)
    assert scene.guard.view().state == "open"
    with pytest.raises(ConnectionError):
        await passed(passes, scene, ConnectionError("down"))
    with pytest.raises(GuardOpen):
        await passed(passes, scene)
    assert (begun, told) == ([1], ["success"])


async def test_a_given_probe_makes_no_call_of_a_guard_that_an_operator_holds_open() -> None:
    scene = Scene()
    scene.guard.hold("open")
    with pytest.raises(GuardOpen):
        await passed({"payments": GivenProbe(nothing, list[CallOutcome]().append)}, scene)


async def test_each_change_is_told_until_the_watch_ends() -> None:
    scene = Scene()
    scene.gate.watch(scene.changed)
    await scene.call()
    assert scene.changes == 0
    await scene.fail()
    assert scene.changes == 1
    scene.clock.now += 5
    probe = await scene.gate.take_probe()
    assert probe is not None
    told = scene.changes
    probe.end("neutral")
    assert scene.changes == told + 1
    scene.gate.unwatch(scene.changed)
    scene.guard.hold("closed")
    assert scene.changes == told + 1
    assert GivenProbe(nothing, list[CallOutcome]().append).probe(0.0) is not None
    assert isinstance(GivenProbe(nothing, list[CallOutcome]().append).probe(0.0), Admission)
