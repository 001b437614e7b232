"""What guards do to a dependency in trouble, judged by its own counts: `python -m tests.faults.proofs.retry_storm`.

The dependency is a process of its own. 1,000 clients retry against it, with and without a budget; one of 100 keys is
down; calls hang for ever; and a keyed guard is given a million keys, in a process of its own whose memory is read.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass

import psutil

from outlast import Breaker, Exponential, Guard, GuardOpen, Retry, RetryBudget
from tests.faults.guards.dependency import Dependency, DependencyFailed
from tests.support.origin import origin

__all__ = ["HungVerdict", "KeysVerdict", "StormVerdict", "hung", "keys", "storm"]

SLOW, TICK = 0.5, 1.0
DOWN = "down"
MEMORY_OF_A_KEY = 4.0
"""The most, in kB, for a key with a breaker and a bulkhead: docs/guards/keys.md states some 3."""


@dataclass(frozen=True)
class StormVerdict:
    """asked: calls that the clients made of the guard; reached: calls that reached the dependency."""

    asked: int
    reached: int
    floor: int
    failed: int
    refused: int
    """The retries that the budget refused, by the notes of the errors."""

    @property
    def times(self) -> float:
        """The load, in times of the calls."""
        return self.reached / self.asked

    @property
    def bounded(self) -> bool:
        """Whether the retries kept to a tenth of the calls and the floor."""
        return self.reached <= 1.1 * self.asked + self.floor


async def storm(
    *, clients: int, each: int, fails: float, budget: RetryBudget | None, attempts: int = 3
) -> StormVerdict:
    """Let the clients make `each` calls one after the other, and retry."""
    retry = Retry(attempts=attempts, backoff=Exponential(base=0.001, cap=0.01))
    guard = Guard("dependency", retry=retry, budget=budget)
    failed = refused = 0

    async def client() -> None:
        nonlocal failed, refused
        for _ in range(each):
            try:
                await guard.call(dependency.call, "any")
            except DependencyFailed as error:
                failed += 1
                refused += any("the retry budget is used up" in note for note in getattr(error, "__notes__", ()))

    async with Dependency(fails=fails) as dependency:
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())
        reached = (await dependency.calls())["any"]
    floor = 0 if budget is None else budget.floor
    return StormVerdict(clients * each, reached, floor, failed, refused)


@dataclass(frozen=True)
class KeysVerdict:
    """refused: calls that a breaker refused, of the key that is down and of the others."""

    keys: int
    calls_of_others: int
    answered_of_others: int
    refused_of_others: int
    refused_of_down: int
    reached_down: int

    @property
    def sound(self) -> bool:
        """Whether the others lost nothing, and the one that is down was left alone."""
        return (
            self.refused_of_others == 0
            and self.answered_of_others == self.calls_of_others
            and self.refused_of_down > self.reached_down
        )


async def keys(*, clients: int, each: int, count: int = 100) -> KeysVerdict:
    """Let each client call all keys in turn, `each` times; one of them is down."""
    guard = Guard("hosts", breaker=Breaker(open_for="1h"), bulkhead=clients, key="key")
    names = [DOWN, *(f"host-{number}" for number in range(1, count))]
    refused: Counter[bool] = Counter()
    answered: Counter[bool] = Counter()

    async def client(first: int) -> None:
        for number in range(each * count):
            name = names[(first + number) % count]
            try:
                await guard.call(dependency.call, name)
                answered[name == DOWN] += 1
            except GuardOpen:
                refused[name == DOWN] += 1
            except DependencyFailed:
                assert name == DOWN, "the other keys do not fail"

    async with Dependency(fails=0) as dependency:
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(client(number))
        reached = await dependency.calls()
    others = clients * each * (count - 1)
    return KeysVerdict(count, others, answered[False], refused[False], refused[True], reached[DOWN])


@dataclass(frozen=True)
class HungVerdict:
    """seconds: from the first call until the breaker was open, seen without a call that would look for slow ones."""

    calls: int
    state: str
    seconds: float
    reached_after: int
    """The calls that reached the dependency afterwards."""

    @property
    def sound(self) -> bool:
        """Whether it opened, and nothing more was sent. Its time is judged by the proof, not by the test."""
        return self.state == "open" and self.reached_after == self.calls


async def hung(calls: int = 20) -> HungVerdict:
    """Make calls that never return, and wait until the breaker is open."""
    guard = Guard("dependency", breaker=Breaker(slow=SLOW, open_for="1h"))
    opened = asyncio.Event()
    lane = guard._only_lane("view")
    assert lane.breaker is not None
    lane.watch(opened.set)
    async with Dependency(fails=0) as dependency:
        begun = time.monotonic()
        waiting = [asyncio.create_task(guard.call(dependency.call, "hang")) for _ in range(calls)]
        async with asyncio.timeout(60):
            await opened.wait()
        seconds = time.monotonic() - begun
        state = lane.breaker.view(time.monotonic()).state
        for _ in range(calls):
            try:
                await guard.call(dependency.call, "any")
            except GuardOpen:
                continue
        reached = sum((await dependency.calls()).values())
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
    return HungVerdict(calls, state, seconds, reached)


def memory(distinct: int, most: int) -> tuple[int, float]:
    """Return the keys that a guard keeps after calls with so many, and the MB that its process grew by."""
    process = psutil.Process()
    guard = Guard("hosts", breaker=Breaker(), bulkhead=20, key="key", max_keys=most)

    async def answer(key: str) -> str:
        return key

    async def main() -> None:
        for number in range(distinct):
            await guard.call(answer, f"host-{number}.example.com")

    before = process.memory_info().rss
    asyncio.run(main())
    assert guard._lanes is not None
    return len(guard._lanes), (process.memory_info().rss - before) / 1e6


def _memory_apart(distinct: int, most: int) -> tuple[int, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(memory, (distinct, most))


async def _storms(clients: int, each: int) -> bool:
    sound = True
    for fails in (0.5, 1.0):
        for budget in (RetryBudget(), None):
            verdict = await storm(clients=clients, each=each, fails=fails, budget=budget)
            how = "with a budget" if budget is not None else "without one"
            print(f"{fails:.0%} of the calls fail, {how}: {verdict.times:.3f} times the calls;", verdict)
            sound = sound and (budget is None or verdict.bounded)
    return sound


def main() -> int:
    """Run all parts and print their figures; return 0 if all hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--each", type=int, default=50, help="calls of each client")
    parser.add_argument("--keys", type=int, default=1_000_000, help="distinct keys of one guard")
    given = parser.parse_args()
    print(origin(), flush=True)
    sound = asyncio.run(_storms(given.clients, given.each))
    of_keys = asyncio.run(keys(clients=given.clients, each=1))
    print(of_keys)
    of_hung = asyncio.run(hung())
    print(of_hung)
    sound = sound and of_keys.sound and of_hung.sound and of_hung.seconds <= SLOW + 2 * TICK
    for most in (10_000, 100_000):
        kept, grown = _memory_apart(given.keys, most)
        print(f"{given.keys:,} distinct keys, max_keys={most:,}: {kept:,} kept, {grown:.1f} MB")
        sound = sound and kept == most and grown <= most * MEMORY_OF_A_KEY / 1000 + 5
    return 0 if sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
