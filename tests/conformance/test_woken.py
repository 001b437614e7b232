"""What wakes a call that waits: each way in which a job can become ready or ended, with the poll out of reach."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from msgspec import structs

from outlast.aio.notifier import Notifier
from outlast.core.limits import Limit
from outlast.core.settlement import Finish, Park, Release, Reschedule
from outlast.core.store.control import Adjust, Cancel, Edit, Pause, Purge, Redrive, RunNow
from outlast.core.topology import Queue, Topology
from outlast.core.unique import Unique
from tests.support.jobs import A, B, Desk, raw

LONG = 3600.0
"""Seconds that no test lasts."""
T = TypeVar("T")
Step = Callable[[Desk], Awaitable[object]]


@pytest.fixture(autouse=True)
def notifications_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a notification ends a wait: no poll, and no time that the store knows."""
    wait = Notifier.wait

    async def until_notified(notifier: Notifier, seen: int, timeout: float) -> None:
        await wait(notifier, seen, LONG)

    monkeypatch.setattr(Notifier, "wait", until_notified)


def steps(*given: Step) -> Step:
    """Return these steps as one."""

    async def run(desk: Desk) -> None:
        for step in given:
            await step(desk)

    return run


def do(*commands: Any) -> Step:
    """Return the step that applies commands."""
    return lambda desk: desk.apply(*commands)


def publish(*ids: str, **options: Any) -> Step:
    """Return the step that publishes jobs."""
    return lambda desk: desk.publish(*ids, **options)


def limits(**settings: Any) -> Step:
    """Return the step that declares queue q with limits."""
    return lambda desk: desk.store.declare(Topology((Queue(name="q", **settings),)))


def kinds(*names: str) -> Step:
    """Return the step that makes kinds known."""
    return lambda desk: desk.store.declare(Topology((), kinds=names))


def settle(how: Callable[[Desk], Any]) -> Step:
    """Return the step that settles what `how` makes of the desk's fences."""
    return lambda desk: desk.settle(how(desk))


async def take(desk: Desk) -> None:
    """Hand out all that can run, to A."""
    await desk.claim("q", "other", holder=A, lease=LONG)


async def die(desk: Desk) -> None:
    """Forfeit what A holds."""
    await desk.store.forfeit(A, crashed=True)


def ended(desk: Desk) -> Finish:
    return Finish(desk.fence("q.run"), "succeeded")


def failed(desk: Desk) -> Finish:
    return Finish(desk.fence("q.run"), "dead", "attempts")


def followed(desk: Desk) -> Finish:
    return Finish(desk.fence("other.run"), "succeeded", then=[desk.message("q.1")])


def retried_with_more(desk: Desk) -> Reschedule:
    return Reschedule(desk.fence("other.run"), desk.clock.time() + 99, 2, then=[desk.message("q.1")])


def retried(desk: Desk) -> Reschedule:
    return Reschedule(desk.fence("q.run"), desk.clock.time(), 2)


def put_off(desk: Desk) -> Reschedule:
    return Reschedule(desk.fence("q.run"), desk.clock.time() + 999, 2)


def released(desk: Desk) -> Release:
    return Release(desk.fence("q.run"))


def released_late(desk: Desk) -> Release:
    return Release(desk.fence("q.run"), desk.clock.time() + 999)


def parked(desk: Desk) -> Park:
    return Park(desk.fence("q.run"), desk.clock.time() + 999)


one_at_once = steps(limits(concurrency=1), publish("q.run", "q.1"), take)
one_of_a_key = steps(limits(per_key=Limit(concurrency=1)), publish("q.run", "q.1", key="ann"), take)
running = steps(publish("q.run"), take)
elsewhere = steps(publish("other.run"), take)

READY: dict[str, tuple[Step, Step, str]] = {
    "publish": (steps(), publish("q.1"), "q.1"),
    "publish with a key": (steps(), publish("q.1", key="ann"), "q.1"),
    "publish with a unique key": (steps(), publish("q.1", unique="u"), "q.1"),
    "publish in bounds": (limits(max_depth=5), publish("q.1"), "q.1"),
    "publish behind a full key": (one_of_a_key, publish("q.2", key="bob"), "q.2"),
    "replace": (publish("q.1", delay=99, unique="u"), publish("q.2", unique=Unique("u", replace=True)), "q.2"),
    "follow-up": (elsewhere, settle(followed), "q.1"),
    "follow-up of a retry": (elsewhere, settle(retried_with_more), "q.1"),
    "retry": (running, settle(retried), "q.run"),
    "release": (running, settle(released), "q.run"),
    "forfeit": (running, die, "q.run"),
    "forfeit of a key": (steps(publish("q.run", key="ann"), take), die, "q.run"),
    "go on": (steps(publish("q.1"), do(Pause("q"))), do(Pause("q", on=False)), "q.1"),
    "run now": (publish("q.1", delay=99), do(RunNow("q.1")), "q.1"),
    "edit": (publish("q.1", delay=99), lambda desk: desk.do(Edit("q.1", run_at=desk.clock.time())), "q.1"),
    "redrive": (steps(running, settle(failed)), do(Redrive("q.run")), "q.run"),
    "redrive of a cancelled": (steps(publish("q.1", delay=99), do(Cancel("q.1"))), do(Redrive("q.1")), "q.1"),
    "known kind": (steps(running, settle(parked)), kinds("send"), "q.run"),
    "slot by an end": (one_at_once, settle(ended), "q.1"),
    "slot by a death": (one_at_once, settle(failed), "q.1"),
    "slot by a retry": (one_at_once, settle(put_off), "q.1"),
    "slot by a release": (one_at_once, settle(released_late), "q.1"),
    "slot by a park": (one_at_once, settle(parked), "q.1"),
    "slot by a forfeit": (steps(one_at_once, do(Cancel("q.run"))), die, "q.1"),
    "slot by a purge": (one_at_once, do(Purge(id="q.run")), "q.1"),
    "slot of a key by an end": (one_of_a_key, settle(ended), "q.1"),
    "slot of a key by a retry": (one_of_a_key, settle(put_off), "q.1"),
    "slot of a key by a release": (one_of_a_key, settle(released_late), "q.1"),
    "slot of a key by a purge": (one_of_a_key, do(Purge(id="q.run")), "q.1"),
    "adjusted limit": (one_at_once, do(Adjust("q", {"concurrency": 2})), "q.1"),
    "adjusted limit of keys": (one_of_a_key, do(Adjust("q", {"per_key.concurrency": None})), "q.1"),
    "declared limit": (one_at_once, limits(concurrency=2), "q.1"),
    "declared limit of keys": (one_of_a_key, limits(), "q.1"),
}
"""By name: what comes before, what makes a job ready, which."""


async def result(waiting: asyncio.Task[T]) -> T:
    """Return what a call that was woken returns; raise TimeoutError if it was not."""
    async with asyncio.timeout(60):
        return await waiting


async def waits(desk: Desk) -> asyncio.Task[list[str]]:
    """Return a claim by B that waits for a job of q, and has found none."""
    waiting = asyncio.create_task(desk.ids(holder=B, wait=LONG, lease=LONG))
    assert await desk.claim(holder=B, lease=LONG) == []  # behind its first look
    return waiting


@pytest.mark.across_queues
@pytest.mark.parametrize("how", READY)
async def test_a_claim_wakes_when_a_job_gets_ready(desk: Desk, how: str) -> None:
    before, change, id = READY[how]
    await before(desk)
    waiting = await waits(desk)
    await change(desk)
    assert await result(waiting) == [id]


@pytest.mark.across_queues
@pytest.mark.parametrize("how", [how for how in READY if how != "known kind"])  # kinds are those of a store
async def test_a_claim_wakes_when_another_process_makes_a_job_ready(two: tuple[Desk, Desk], how: str) -> None:
    before, change, id = READY[how]
    one, other = two
    await before(one)
    waiting = await waits(other)
    await change(one)
    assert await result(waiting) == [id]


async def replace(desk: Desk) -> None:
    await desk.publish("q.2", unique=Unique("u", replace=True))


ENDED: dict[str, tuple[Step, Step, str]] = {
    "end": (running, settle(ended), "succeeded"),
    "death": (running, settle(failed), "dead"),
    "end of a key": (steps(publish("q.run", key="ann"), take), settle(ended), "succeeded"),
    "result": (running, settle(lambda desk: structs.replace(ended(desk), result=raw(1))), "succeeded"),
    "cancel": (publish("q.run"), do(Cancel("q.run")), "cancelled"),
    "cancel of a running": (steps(running, do(Cancel("q.run"))), settle(retried), "cancelled"),
    "cancel of a dead worker's": (steps(running, do(Cancel("q.run"))), die, "cancelled"),
    "purge": (publish("q.run"), do(Purge(id="q.run")), "unknown"),
    "purge of the queue": (publish("q.run"), do(Purge(queue="q")), "unknown"),
    "purge of a key": (publish("q.run", key="ann"), do(Purge(key="ann")), "unknown"),
    "replace": (publish("q.run", delay=99, unique="u"), replace, "cancelled"),
    "shed": (
        steps(limits(max_depth=1, on_full="shed"), publish("q.run", priority="low")),
        publish("q.2", priority="high"),
        "expired",
    ),
}
"""By name: what comes before, what ends job q.run, in which state."""


async def state_after(desk: Desk) -> asyncio.Task[str]:
    """Return a wait for the end of q.run, which has not ended."""

    async def wait() -> str:
        (record,) = await desk.store.wait(["q.run"], LONG)
        return "unknown" if record is None else record.state

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await desk.store.get(["q.run"])  # behind its first look
    assert not waiting.done()
    return waiting


@pytest.mark.parametrize("how", ENDED)
async def test_a_wait_for_the_end_wakes(desk: Desk, how: str) -> None:
    before, change, state = ENDED[how]
    await before(desk)
    waiting = await state_after(desk)
    await change(desk)
    assert await result(waiting) == state


@pytest.mark.parametrize("how", ENDED)
async def test_a_wait_for_the_end_wakes_when_another_process_ends_the_job(two: tuple[Desk, Desk], how: str) -> None:
    before, change, state = ENDED[how]
    one, other = two
    await before(one)
    waiting = await state_after(other)
    await change(one)
    assert await result(waiting) == state
