"""What is reported of a run is of the run, not of the time that the store took for its settlement."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from outlast import Outlast
from outlast.core.events import JobEnded
from outlast.core.message import Delivery, Fence
from outlast.core.settlement import Finish
from outlast.testing.clock import FakeClock
from outlast.worker.budget import Budget
from outlast.worker.report import Reporter
from outlast.worker.run import Run


def test_the_seconds_of_a_run_end_with_the_run_also_in_an_outage_of_the_store() -> None:
    shop, ended = Outlast("shop"), list[JobEnded]()

    @shop.job
    async def send() -> None: ...

    clock = FakeClock()
    runtime = SimpleNamespace(
        observers=SimpleNamespace(of=lambda event: (ended.append,)),
        emit=ended.append,
        clock=clock,
        registry=shop.registry,
    )
    budget = Budget(shop.composer, concurrency=3, threads=2, processes=1)
    sent = shop.composer.message(shop.registry.declarations["send"])
    run = Run(Delivery(sent, Fence(sent.id, sent.queue, 1)), None, budget.loop, cast(Any, None), 0.0)
    budget.hold(run)
    budget.take_slot(run.group)
    run.began, run.started = True, clock.monotonic()
    clock.advance(2)
    budget.free_slot(run, clock.monotonic())
    clock.advance(600)  # until the store is back
    Reporter(cast(Any, runtime)).settled([(run, Finish(run.delivery.fence, "succeeded"))])
    assert [each.seconds for each in ended] == [2]
