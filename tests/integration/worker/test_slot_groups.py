"""A queue that waits for its own slots is served as soon as one is free, whatever the other queues do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from outlast import Outlast
from outlast.core.message import Delivery
from outlast.worker import claimer, slot_groups
from tests.support.polling import until
from tests.support.working import working


async def test_a_freed_slot_is_filled_while_a_claim_waits_for_other_queues(
    app: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimer, "CLAIM_WAIT", 3600.0)
    gate = threading.Event()
    ran: list[int] = []

    @app.job(queue="slow")
    def slow(number: int) -> None:
        ran.append(number)
        gate.wait(30)

    @app.job(queue="quick")
    async def quick() -> None:
        return

    async with working(app, threads=1):
        await app.enqueue_many(slow.message(number) for number in range(4))
        await until(lambda: ran, "the only thread is taken")
        await (await quick.enqueue()).result(timeout=30)  # from now on a claim waits for more of these
        gate.set()
        await until(lambda: len(ran) == 4, "every slow job has run, one after the other")
        await (await quick.enqueue()).result(timeout=30)


async def test_a_queue_without_room_keeps_its_consumer(app: Outlast) -> None:
    """Else workers on other hosts report that no worker consumes it, because a slow job runs."""
    gate = threading.Event()

    @app.job(queue="slow")
    def slow() -> None:
        gate.wait(30)

    @app.job(queue="quick")
    async def quick() -> None:
        return

    async with working(app, threads=1):
        await slow.enqueue()
        await until(lambda: is_running(app), "the only thread is taken")
        for _ in range(2):  # given by a claim that has no room for the other queue
            await (await quick.enqueue()).result(timeout=30)
        stats = await (await app.runtime()).store.broker.stats(())
        gate.set()
    assert {name: each.consumers for name, each in stats.items()} == {"slow": 1, "quick": 1}


async def test_what_a_claim_is_given_in_the_moment_it_stops_waiting_runs(
    app: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else those jobs would be held by a worker that never heard of them, for as long as it lives."""
    gate = threading.Event()
    granted: list[str] = []
    store = (await app.runtime()).store
    real = store.broker.claim

    @app.job(queue="slow")
    def slow() -> None:
        gate.wait(30)

    @app.job(queue="quick")
    async def quick() -> int:
        return 7

    async def claim(demand: Mapping[str, int], **how: Any) -> list[Delivery]:
        try:
            return await real(demand, **how)
        except asyncio.CancelledError:
            if granted:
                raise
            granted.append((await quick.enqueue()).id)
            return await real(demand, **{**how, "wait": 0.0})

    monkeypatch.setattr(store.broker, "claim", claim)
    async with working(app, threads=1):
        await slow.enqueue()
        await until(lambda: is_running(app), "the only thread is taken")
        gate.set()
        await until(lambda: granted, "the claim for the other queue was stopped")
        assert await app.handle(granted[0]).result(timeout=30) == 7


@pytest.mark.parametrize("mixed", [True, False])
async def test_long_runs_in_some_slots_keep_no_other_slot_empty(
    app: Outlast, monkeypatch: pytest.MonkeyPatch, mixed: bool
) -> None:
    """A claim that got all it asked for waits for the next settlement; when nothing is about to end, none comes."""
    monkeypatch.setattr(slot_groups, "claim_ahead", lambda *_, **__: 0 if mixed else 1)
    gate = asyncio.Event()
    ran: list[int] = []

    @app.job
    async def long(number: int) -> None:
        ran.append(number)
        await gate.wait()

    if mixed:  # the queue is given the room of its narrowest way to run

        @app.job
        def plain() -> None: ...

    async with working(app, threads=1, concurrency=8):
        await app.enqueue_many(long.message(number) for number in range(8))
        await until(lambda: len(ran) == 8, "every slot is in use")
        gate.set()


async def is_running(app: Outlast) -> bool:
    """Tell whether the slow job runs and the worker waits for others."""
    return (await (await app.runtime()).store.broker.stats(["slow"]))["slow"].running == 1
