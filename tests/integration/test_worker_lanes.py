"""A queue that waits for its own slots is served as soon as one is free, whatever the other queues do."""

from __future__ import annotations

import threading

import pytest

from outlast import Outlast
from outlast.worker import claimer
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


async def test_a_claim_that_stops_waiting_keeps_what_it_was_just_given(app: Outlast) -> None:
    """Slots come free all the time while jobs come in: each job runs once, and none is left behind."""
    ran: list[int] = []

    @app.job(queue="slow")
    def slow(number: int) -> None:
        ran.append(number)

    @app.job(queue="quick")
    async def quick(number: int) -> None:
        ran.append(number)

    async with working(app, threads=1):
        for number in range(0, 600, 3):
            await app.enqueue_many([slow.message(number), slow.message(number + 1), quick.message(number + 2)])
        await until(lambda: len(ran) >= 600, "all have run")
    assert sorted(ran) == list(range(600))
