"""The producer, a process of its own: enqueues in bursts and a trickle, in every way there is, until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Sequence
from typing import Any, Final

from outlast.core.errors import EnqueueUnknown, StoreError
from outlast.core.message import Message
from outlast.enqueue.handle import Handle
from outlast.enqueue.job import Job
from tests.faults.survival import app
from tests.faults.survival.ledger import Enqueued, Ledger, Planned, Twice, now
from tests.faults.survival.names import LEDGER

__all__ = ["main"]

KINDS: Final = {
    "steady": 42.0,
    "telling": 28.0,
    "blocking": 10.0,
    "shaky": 8.0,
    "parent": 4.0,
    "sole": 5.0,
    "doomed": 0.8,
    "quitter": 0.8,
    "apart": 0.2,
}
"""How often a kind is drawn."""
POISONED: Final = 25
"""Bursts from one poison job to the next."""


class Producer:
    """Draws jobs from a seed and enqueues them; writes each down when, and only when, its enqueue has returned."""

    def __init__(self, seed: int, ledger: Ledger, *, poison: int) -> None:
        self._rng = random.Random(seed)
        self._ledger = ledger
        self._poison = poison
        self._serial = 0
        self._bursts = 0
        self._next_poison = 3

    async def run(self, stop: asyncio.Event, *, size: int, pause: float) -> None:
        """Enqueue a burst of about `size` jobs about every `pause` seconds, and single ones between, until `stop`."""
        while not stop.is_set():
            await self._burst(self._rng.randint(size * 2 // 3, size * 4 // 3))
            for _ in range(3):
                await self._one_by_one(1)
                await self._poisoned()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._rng.uniform(0, pause * 2 / 3))

    async def _poisoned(self) -> None:
        """Slip one poison job among the others when it is time for one, while there are any to give."""
        if self._poison and self._bursts >= self._next_poison:
            self._next_poison += POISONED
            self._poison -= 1
            how = self._rng.choice(["exit", "signal"])
            await self._bulk([self._message(app.poison, {"how": how}, plain=True)])

    async def _burst(self, size: int) -> None:
        self._bursts += 1
        singles = self._rng.randint(0, size // 2)
        await asyncio.gather(self._one_by_one(singles), self._bulk([self._draw() for _ in range(size - singles)]))

    # Drawing

    def _draw(self) -> tuple[Message, Planned]:
        (kind,) = self._rng.choices(list(KINDS), weights=list(KINDS.values()))
        ms = round(self._rng.uniform(10, 400), 1)
        spin = round(self._rng.uniform(0.1, 1.5), 2)
        match kind:
            case "shaky":
                return self._message(app.shaky, {"fails": self._rng.randint(1, 2), "ms": ms, "spin": spin})
            case "parent":
                fails = self._rng.choice([0, 0, 1])
                return self._message(app.parent, {"kids": 2, "fails": fails, "ms": ms, "spin": spin})
            case "sole":
                return self._message(app.sole, {"slot": self._rng.randint(1, 40), "ms": ms, "spin": spin})
            case "doomed":
                return self._message(app.doomed, {"ms": ms})
            case "quitter":
                return self._message(app.quitter, {"ms": ms})
            case "blocking":
                return self._message(app.blocking, {"ms": ms / 4, "spin": spin})
            case "apart":
                return self._message(app.apart, {"ms": ms / 4, "spin": spin})
            case "steady":
                return self._message(app.steady, {"ms": ms, "spin": spin})
            case _:
                return self._message(app.telling, {"ms": ms, "spin": spin})

    def _message(self, job: Job[..., Any], args: dict[str, Any], *, plain: bool = False) -> tuple[Message, Planned]:
        """Return a job with options drawn for it, and what is planned for it."""
        options: dict[str, Any] = {}
        if not plain:
            if self._rng.random() < 0.1:
                options["delay"] = round(self._rng.uniform(0.05, 3.0), 2)
            if self._rng.random() < 0.2:
                options["priority"] = self._rng.choice(["high", "low"])
            if job.kind != "sole" and self._rng.random() < 0.6:
                self._serial += 1
                options["id"] = f"n{self._serial}"
        message = job.with_options(**options).message(**args)
        return message, Planned(message.id, job.kind, args.get("fails", 0))

    # Enqueueing

    async def _one_by_one(self, count: int) -> None:
        """Enqueue so many singly and side by side, now and then one of them twice."""
        drawn = [self._draw() for _ in range(count)]
        again = [each for each in drawn if self._rng.random() < 0.02]
        await asyncio.gather(*(self._bulk([each]) for each in drawn))
        await asyncio.gather(*(self._bulk([each]) for each in again))

    async def _bulk(self, drawn: Sequence[tuple[Message, Planned]]) -> None:
        """Enqueue all in one step, again and again with the same ids while it is not known whether it was done."""
        if not drawn:
            return
        began = now()
        doubtful = False
        while True:
            try:
                handles = await app.shop.enqueue_many([message for message, _ in drawn])
                break
            except (EnqueueUnknown, StoreError):
                doubtful = True
                await asyncio.sleep(0.2)
        self._write(began, drawn, handles, doubtful=doubtful)

    def _write(
        self,
        began: float,
        drawn: Sequence[tuple[Message, Planned]],
        handles: Sequence[Handle[Any]],
        *,
        doubtful: bool,
    ) -> None:
        taken: list[Planned] = []
        twice: list[Twice] = []
        for (_, planned), handle in zip(drawn, handles, strict=True):
            if handle.created or (doubtful and handle.id == planned.id):
                taken.append(planned)
            else:
                twice.append(Twice(id=handle.id, by=str(handle.conflict)))
        if taken:
            self._ledger.write(Enqueued(began=began, jobs=tuple(taken)))
        for each in twice:
            self._ledger.write(each)


async def main() -> None:
    """Produce until SIGTERM."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--size", type=int, required=True)
    options.add_argument("--pause", type=float, required=True)
    options.add_argument("--poison", type=int, required=True)
    given = options.parse_args()
    ledger = Ledger(os.environ[LEDGER])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    producer = Producer(given.seed, ledger, poison=given.poison)
    async with app.shop:
        await producer.run(stop, size=given.size, pause=given.pause)
    ledger.close()


if __name__ == "__main__":
    asyncio.run(main())
