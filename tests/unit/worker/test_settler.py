"""A settler frees what it has settled; on a store with its queues on several servers, each queue has its own."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from outlast import Outlast
from outlast.core.message import Delivery, Fence
from outlast.core.settlement import Finish, Release
from outlast.testing.clock import FakeClock
from outlast.worker.budget import Budget
from outlast.worker.run import Run
from outlast.worker.settler import Settler, Settlers


class Kept:
    """Keeps the settlements of one queue."""

    def __init__(self) -> None:
        self.added: list[Any] = []
        self.closed = False

    def add(self, run: Any, settlement: Any) -> None:
        self.added.append((run, settlement))

    async def close(self) -> None:
        self.closed = True


async def test_each_queue_has_one_settler_and_all_are_closed() -> None:
    made: dict[str, Kept] = {}

    def make(queue: str) -> Any:
        assert queue not in made
        made[queue] = Kept()
        return made[queue]

    settlers, run = Settlers(make), SimpleNamespace()
    mail, more, bills = (
        Release(Fence(f"{queue}.a", queue, token)) for queue, token in (("mail", 1), ("mail", 2), ("bills", 3))
    )
    for settlement in (mail, bills, more):
        settlers.add(run, settlement)  # type: ignore[arg-type]
    assert {queue: each.added for queue, each in made.items()} == {
        "mail": [(run, mail), (run, more)],
        "bills": [(run, bills)],
    }
    await settlers.close()
    assert all(each.closed for each in made.values())


async def test_a_run_is_held_until_the_store_has_its_settlement_and_not_longer() -> None:
    """A worker that stops waits until it holds none."""
    shop = Outlast("shop")

    @shop.job
    async def send() -> None: ...

    clock, reported = FakeClock(), asyncio.Event()
    budget = Budget(shop.composer, concurrency=3, threads=2, processes=1)
    sent = shop.composer.message(shop.registry.declarations["send"])
    run = Run(Delivery(sent, Fence(sent.id, sent.queue, 1)), None, budget.loop, cast(Any, None), 0.0)
    taken: list[Any] = []

    class Link:
        def __init__(self) -> None:
            self.clock, self.broker = clock, self

        async def retry(self, what: str, call: Any, *, queue: str) -> Any:
            return await call(self)

        async def settle(self, settlements: list[Any]) -> list[Any]:
            taken.append((settlements, list(budget.runs), budget.settling))
            return []

    report: Any = SimpleNamespace(settled=lambda batch, superseded, absent: reported.set())
    link: Any = Link()
    settler = Settler(link, budget, report, broken=lambda error: None)
    release = Release(run.delivery.fence)
    budget.hold(run)
    budget.idle.clear()
    budget.end(run)
    settler.add(run, release)
    async with asyncio.timeout(30):
        await reported.wait()
    assert taken == [([release], [run], 1)]
    assert (list(budget.runs), budget.settling, budget.idle.is_set()) == ([], 0, True)


async def test_what_the_store_cannot_take_is_told_as_it_was_settled() -> None:
    """Not as the end that it should have been: the job runs again."""
    shop = Outlast("shop")

    @shop.job
    async def send() -> None: ...

    clock, reported = FakeClock(), asyncio.Event()
    budget = Budget(shop.composer, concurrency=3, threads=2, processes=1)
    told: list[Any] = []

    class Link:
        def __init__(self) -> None:
            self.clock, self.broker = clock, self

        async def retry(self, what: str, call: Any, *, queue: str) -> Any:
            return await call(self)

        async def settle(self, settlements: list[Any]) -> list[Any]:
            if any(isinstance(each, Finish) and each.reason == "\ud800" for each in settlements):
                raise ValueError("no text")
            return []

    def report(batch: list[Any], superseded: object, absent: object) -> None:
        told.extend(settlement for _, settlement in batch)
        reported.set()

    link: Any = Link()
    settler = Settler(link, budget, cast(Any, SimpleNamespace(settled=report)), broken=lambda error: None)
    good, bad = "kept", "\ud800"
    for reason in (good, bad):
        sent = shop.composer.message(shop.registry.declarations["send"])
        run = Run(Delivery(sent, Fence(sent.id, sent.queue, 1)), None, budget.loop, cast(Any, None), 0.0)
        budget.hold(run)
        settler.add(run, Finish(run.delivery.fence, "dead", reason))
    await reported.wait()
    assert [type(each) for each in told] == [Finish, Release]
    assert (told[0].reason, told[1].at) == (good, clock.time() + 60)
    await settler.close()
