"""Long random histories with every rule of selection on: SQL and Lua must give out the same ids as memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import pytest

from outlast.brokers.memory import MemoryStore
from outlast.core.limits import Limit
from outlast.core.message import Delivery, Fence
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement
from outlast.core.store.control import Adjust, Cancel, Command, Edit, Pause, Prune, Purge, Redrive, RunNow
from outlast.core.store.store import CompleteStore
from outlast.core.topology import Queue, Topology
from outlast.core.unique import Unique
from outlast.testing.clock import FakeClock
from tests.support.jobs import LEASE, A, B, C, failure, message
from tests.support.stores import CASES, StoreCase

T = TypeVar("T")

STEPS: Final = 4000
_FIRST, _, _END = os.environ.get("OUTLAST_TEST_SEEDS", "0-4").rpartition("-")
SEEDS: Final = range(int(_FIRST or 0), int(_END))
"""More of them: OUTLAST_TEST_SEEDS=100; others: OUTLAST_TEST_SEEDS=100-200."""

QUEUES: Final = ("q", "r", "s", "t")
KEYS: Final = (None, None, "ann", "ann", "bob", "bob", "cat", "dan", "eve", "fay", "gus")
DECLARED: Final = {
    "q": (
        Queue(name="q"),
        Queue(name="q", weights={"ann": 3, "gus": 2}),
        Queue(name="q", concurrency=6),
    ),
    "r": (
        Queue(name="r", per_key=Limit(concurrency=1)),
        Queue(name="r", per_key=Limit(concurrency=2, rate="3/4s", burst=2), weights={"bob": 2}),
        Queue(name="r", concurrency=5, per_key=Limit(concurrency=2)),
    ),
    "s": (
        Queue(name="s", per_key=Limit(rate="2/8s", burst=2)),
        Queue(name="s", rate="5/4s", burst=4),
        Queue(name="s", rate="5/4s", burst=4, per_key=Limit(rate="1/2s")),
    ),
}
CHANGES: Final[tuple[dict[str, Any], ...]] = (
    {"concurrency": 2},
    {"concurrency": None},
    {"rate": "2/s", "burst": 2},
    {"rate": None},
    {"per_key.concurrency": 1},
    {"per_key.concurrency": None},
    {"per_key.rate": "1/4s"},
    {"per_key.rate": None},
    {"weights.bob": 4},
    {"weights.ann": None, "weights.cat": 2},
)
RESETS: Final = ("concurrency", "per_key.concurrency", "weights.bob", "weights.ann", "weights.cat")


class History:
    """The store under test and the memory store, on one clock."""

    def __init__(self, case: StoreCase, folder: Path, seed: int) -> None:
        self.random = Random(seed)
        self.clock = FakeClock()
        self.queues = ("r",) if case.spread else QUEUES  # where queues lie apart, each of them has its own history
        self.stores: tuple[CompleteStore, CompleteStore] = (
            case.make(folder, self.clock, DEFAULTS.max_body),
            MemoryStore(self.clock),
        )
        self.number = 0
        self.ids: list[str] = ["q.none"]
        self.given: list[tuple[Fence, Fence]] = []
        self.handed_out = 0
        self.successors = 0
        """How often a job was seen that waits for its unique key."""
        self.done: list[str] = []
        """What was done, for whoever looks for the reason of a difference."""

    def agree(self, tested: object, model: object) -> None:
        """Raise AssertionError with what came before when two answers differ."""
        if tested != model:
            raise AssertionError("\n".join([*self.done[-60:], f"tested: {tested}", f"model:  {model}"]))

    async def same(self, calls: list[Coroutine[Any, Any, T]]) -> T:
        """Run one call on each store; their answers must be equal."""
        tested, model = await calls[0], await calls[1]
        self.agree(tested, model)
        return tested

    async def run(self, steps: int) -> None:
        """Live through `steps` of it."""
        for store in self.stores:
            await store.open()
        steps_of = [
            (self.publish, 20),
            (self.claim, 34),
            (self.settle, 24),
            (self.advance, 10),
            (self.command, 6),
            (self.extend, 2),
            (self.forfeit, 1),
            (self.declare, 1),
            (self.adjust, 2),
        ]
        try:
            for _ in range(steps):
                (step,) = self.random.choices([each for each, _ in steps_of], [weight for _, weight in steps_of])
                self.clock.advance(0.001)
                await step()
        finally:
            for store in self.stores:
                await store.close()

    async def publish(self) -> None:
        """Publish a few."""
        batch = []
        for _ in range(self.random.choice((1, 1, 2, 5, 12))):
            self.number += 1
            id_ = f"{self.random.choice(self.queues)}.{self.number}"
            if self.random.random() < 0.03:
                id_ = self.random.choice(self.ids)
            unique = None
            if self.random.random() < 0.1:
                seconds = self.random.choice((None, None, None, 9.0))
                unique = Unique(f"u{self.random.randrange(6)}", seconds=seconds, replace=self.random.random() < 0.5)
            batch.append(
                message(
                    id_,
                    self.clock.time(),
                    delay=self.random.choice((0.0, 0.0, 0.0, 0.0, 1.0, 20.0)),
                    priority=self.random.choice(("normal", "normal", "normal", "high", "low")),
                    key=self.random.choice(KEYS),
                    unique=unique,
                    expires=self.random.choice((None, None, None, None, None, 6.0)),
                )
            )
        batch = list({each.id: each for each in batch}.values())
        self.ids += [each.id for each in batch]
        self.done.append(f"publish {[(each.id, each.key, each.run_at - self.clock.time()) for each in batch]}")
        await self.same([store.publish(batch) for store in self.stores])
        counts = [await store.stats([]) for store in self.stores]
        waiting = [{name: each.successors for name, each in stats.items()} for stats in counts]
        self.agree(*waiting)
        self.successors += sum(waiting[1].values())

    async def claim(self) -> None:
        """Claim, and compare who came."""
        holder = self.random.choice((A, B, C))
        limit = self.random.choice((1, 2, 3, 5, 9, 30))
        demand = {
            name: self.random.choice((0, 1, 3, 8, 30))
            for name in self.random.sample(self.queues, min(3, len(self.queues)))
        }
        tested, model = [
            await store.claim(demand, limit=limit, holder=holder, lease=LEASE, wait=0.0) for store in self.stores
        ]
        self.done.append(f"claim {holder.label} {limit} {demand}: {[each.message.id for each in model]}")
        self.agree(list(map(_seen, tested)), list(map(_seen, model)))
        self.handed_out += len(model)
        self.given += [(one.fence, other.fence) for one, other in zip(tested, model, strict=True)]
        if not model:
            await self.renew(holder)  # a claim that gives nothing may leave the lease as it was

    async def settle(self) -> None:
        """Report on some of what was handed out."""
        sides: tuple[list[Settlement], list[Settlement]] = ([], [])
        recent = self.given[-40:]
        for pair in self.random.sample(recent, min(len(recent), self.random.choice((1, 2, 4, 8)))):
            kind = self.random.choice(("done", "done", "done", "dead", "retry", "release", "park"))
            at = self.clock.time() + self.random.choice((0.0, 0.0, 3.0, 15.0))
            at_once = self.random.random() < 0.5
            for side, fence in enumerate(pair):
                sides[side].append(_settlement(kind, fence, at, at_once=at_once))
            self.done.append(f"settle {kind} {pair[1].id} {at - self.clock.time()} {at_once}")
        lost = [
            [each.fence.id for each in await store.settle(sides[side])] if sides[side] else []
            for side, store in enumerate(self.stores)
        ]
        self.agree(*lost)

    async def advance(self) -> None:
        """Let time pass; as many jobs must have ended until now, in each way."""
        await self.same([store.totals() for store in self.stores])
        self.clock.advance(self.random.choice((0.05, 0.4, 1.0, 4.0, LEASE + 1, 45.0)))
        self.done.append(f"at {self.clock.time():.3f}")

    async def extend(self) -> None:
        """Renew one holder."""
        await self.renew(self.random.choice((A, B, C)))

    async def renew(self, holder: Any) -> None:
        """Renew a lease."""
        self.done.append(f"extend {holder.label}")
        tested, model = [
            {(each.fence.id, each.why) for each in await store.extend(holder, lease=LEASE)} for store in self.stores
        ]
        # A store may also name one that was reported late and then handed out again: the holder knows no such fence.
        self.agree(tested & model, model)

    async def forfeit(self) -> None:
        """Let one holder die."""
        holder, crashed = self.random.choice((A, B, C)), self.random.random() < 0.5
        self.done.append(f"forfeit {holder.label}")
        await self.same([store.forfeit(holder, crashed=crashed) for store in self.stores])

    async def declare(self) -> None:
        """Declare a queue, perhaps otherwise than before."""
        queue = self.random.choice(DECLARED[self.random.choice([each for each in DECLARED if each in self.queues])])
        self.done.append(f"declare {queue}")
        topology = Topology((queue,), kinds_of={queue.name: ("send",)})
        await self.same([store.declare(topology) for store in self.stores])

    async def adjust(self) -> None:
        """Change limits as an operator."""
        changes = self.random.choice(CHANGES)
        reset = tuple(self.random.sample(RESETS, self.random.choice((0, 1, 3))))
        await self.do(Adjust(self.random.choice(self.queues), changes, reset))

    async def command(self) -> None:
        """Send one of the other commands."""
        id_ = self.random.choice(self.ids[-60:])
        queue = self.random.choice(self.queues)
        run_at = self.random.choice((None, self.clock.time(), self.clock.time() + 10))
        command: Command = self.random.choice(
            (
                Cancel(id_),
                Cancel(id_),
                Redrive(id_),
                RunNow(id_),
                Edit(id_, None, self.random.choice((None, "high", "low")), run_at),
                Pause(queue, on=True),
                Pause(queue, on=False),
                Pause(queue, on=False),
                Purge(id=id_),
                Purge(id=id_, states=("dead", "ready")),
                Purge(key=self.random.choice(KEYS) or "ann"),
                Purge(queue=queue, key="bob"),
                Purge(queue=queue, states=("ready",)),
                Prune(),
            )
        )
        await self.do(command)

    async def do(self, command: Command) -> None:
        """Send a command."""
        self.done.append(str(command))
        answers = [await store.apply([command]) for store in self.stores]
        if not isinstance(command, Prune):
            self.agree(*answers)


def _seen(delivery: Delivery) -> tuple[str, str | None, int, int]:
    return delivery.message.id, delivery.message.key, delivery.attempt, delivery.crashes


def _settlement(kind: str, fence: Fence, at: float, *, at_once: bool) -> Settlement:
    match kind:
        case "done":
            return Finish(fence, "succeeded")
        case "dead":
            return Finish(fence, "dead", "why", error=failure())
        case "retry":
            return Reschedule(fence, at, 2, failure())
        case "release":
            return Release(fence, None if at_once else at)
        case _:
            return Park(fence, at)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", [case for case in CASES if case.name != "memory"], ids=lambda case: case.name)
def test_the_same_ids_in_the_same_order(case: StoreCase, seed: int, tmp_path: Path) -> None:
    history = History(case, tmp_path, seed)
    asyncio.run(history.run(STEPS))
    assert history.successors > 0
    assert history.handed_out > STEPS // (20 if case.spread else 5)  # one queue alone may be limited for long
