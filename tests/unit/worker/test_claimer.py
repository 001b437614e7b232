"""The claimer: what it claims, what it gives back, and when it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from msgspec import structs

from outlast import Outlast
from outlast.core.errors import StoreUnavailable
from outlast.core.message import Delivery, Fence, Holder
from outlast.core.settlement import Release
from outlast.core.store.broker import Capabilities
from outlast.testing.clock import FakeClock
from outlast.worker.budget import Budget
from outlast.worker.claimer import Claimer
from outlast.worker.run import Run


class Link:
    """A link to a store whose calls of one kind fail as often as asked."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.calls: list[str] = []
        self.pauses: list[int] = []
        self.claims_fail = 0
        self.granted: list[Delivery] = []
        self.store = self.broker = self
        self.capabilities = Capabilities(durability="memory", max_body=1, shared=True)
        self.found = 0

    async def once(self, call: Any, *, wait: float = 0.0, what: str = "") -> Any:
        return await call(self)

    async def pause(self, what: str, attempt: int, error: Exception) -> None:
        self.pauses.append(attempt)

    async def claim(self, demand: Mapping[str, int], **_: Any) -> list[Delivery]:
        self.calls.append(f"claim {dict(demand)}")
        if self.claims_fail:
            self.claims_fail -= 1
            raise StoreUnavailable("away")
        granted, self.granted = self.granted, []
        return granted

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        assert not crashed
        self.calls.append("forfeit")
        return self.found


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def shop() -> Outlast:
    shop = Outlast("shop")

    @shop.job
    async def send() -> None: ...

    return shop


@pytest.fixture
def budget(shop: Outlast) -> Budget:
    return Budget(shop.composer, concurrency=3, threads=2, processes=1)


@pytest.fixture
def claimer(link: Link, budget: Budget) -> Claimer:
    return Claimer(cast(Any, link), budget, lambda deliveries: None, queues=["default"], holder=Holder("h"), lease=30.0)


def settle(budget: Budget, run: Run) -> None:
    batch = [(run, Release(run.delivery.fence))]
    budget.begin_settling(batch)
    budget.settled(batch)


def held(shop: Outlast, budget: Budget) -> Run:
    sent = shop.composer.message(shop.registry.declarations["send"])
    run = Run(Delivery(sent, Fence(sent.id, sent.queue, 1)), None, budget.loop, cast(Any, None), 0.0)
    budget.hold(run)
    return run


async def test_what_a_failed_claim_was_granted_is_given_back_when_nothing_runs(
    link: Link, claimer: Claimer, caplog: pytest.LogCaptureFixture
) -> None:
    link.claims_fail, link.found = 1, 2
    for _ in range(3):
        await claimer.step(wait=0)
    claim = "claim {'default': 3}"
    assert link.calls == [claim, "forfeit", claim, claim]
    assert caplog.messages == ["released what the store had granted to a failed claim: 2 jobs"]


async def test_nothing_is_given_back_while_a_job_runs_and_after_a_minute_nothing_is_claimed(
    shop: Outlast, link: Link, claimer: Claimer, budget: Budget
) -> None:
    """A forfeit would take the running job too."""
    run = held(shop, budget)
    link.claims_fail = 1
    claim = "claim {'default': 2}"
    await claimer.step(wait=0)
    link.clock.advance(59)
    await claimer.step(wait=0)
    assert link.calls == [claim, claim]
    link.clock.advance(2)
    waiting = asyncio.ensure_future(claimer.step(wait=0))
    await asyncio.sleep(0)
    settle(budget, run)
    assert (await waiting, link.calls) == (0, [claim, claim])
    await claimer.step(wait=0)
    assert link.calls == [claim, claim, "forfeit", "claim {'default': 3}"]


async def test_where_the_connection_holds_the_jobs_nothing_is_given_back_and_claims_go_on(
    shop: Outlast, link: Link, claimer: Claimer, budget: Budget
) -> None:
    """A failed claim took nothing that the connection does not have: long runs must not stop the claims."""
    link.capabilities = structs.replace(link.capabilities, leases=False)
    held(shop, budget)
    link.claims_fail = 1
    await claimer.step(wait=0)
    link.clock.advance(61)
    for _ in range(2):
        await claimer.step(wait=0)
    assert link.calls == ["claim {'default': 2}"] * 3


async def test_a_full_worker_claims_nothing(shop: Outlast, link: Link, claimer: Claimer, budget: Budget) -> None:
    runs = [held(shop, budget) for _ in range(3)]
    waiting = asyncio.ensure_future(claimer.step(wait=0))
    await asyncio.sleep(0)
    settle(budget, runs[0])
    assert (await waiting, link.calls) == (0, [])


async def test_the_pauses_grow_from_failure_to_failure_and_begin_again_after_a_success(
    link: Link, claimer: Claimer
) -> None:
    link.claims_fail = 3
    for _ in range(4):
        await claimer.step(wait=0)
    link.claims_fail = 1
    await claimer.step(wait=0)
    assert link.pauses == [1, 2, 3, 1]


async def test_the_claim_after_one_that_was_filled_waits_for_the_next_settlement(
    shop: Outlast, link: Link, claimer: Claimer, budget: Budget
) -> None:
    """Both are one transaction then."""
    run = held(shop, budget)
    budget.end(run)
    link.granted = [run.delivery, run.delivery]
    assert await claimer.step(wait=0) == 2
    waiting = asyncio.ensure_future(claimer.step(wait=0))
    await asyncio.sleep(0)
    assert link.calls == ["claim {'default': 2}"]
    budget.begin_settling([(run, Release(run.delivery.fence))])
    assert await waiting == 0
    assert link.calls == ["claim {'default': 2}", "claim {'default': 3}"]
