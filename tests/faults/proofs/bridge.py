"""Kills workers and the RabbitMQ under a bridge at random moments while events come, and judges by the ledger.

`python -m tests.faults.proofs.bridge [EVENTS] [KILLS] [RESTARTS] [SEED] [GAP]`
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from outlast import EnqueueUnknown, Outlast, Settings, StoreError
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.properties import MessageProperties
from outlast.core.codec import encode_value
from outlast.core.exchanges.values import ExchangeEvent
from outlast.core.store.records import Query
from tests.faults.rabbitmq.bridge_app import app as declared
from tests.faults.rabbitmq.bridge_app import orders as exchange
from tests.support.ledger import Entry, Ledger
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import RabbitServer
from tests.support.supervise import Supervised, supervised

__all__ = ["BridgeOrders", "BridgeVerdict", "survive"]

WORKERS: Final = 4
FOREIGN: Final = 10
"""One event of so many comes from a client that gives no message_id: it may double."""
LEFT: Final = 120.0
"""Seconds that events have at the end until each has been dealt with."""
AGAIN: Final = 5.0
"""Seconds within which a worker consumes again after the server answers."""


@dataclass(frozen=True)
class BridgeOrders:
    """What is done. kills: kill -9 of one worker each; restarts: kill -9 of RabbitMQ, back at once. gap: seconds."""

    events: int
    kills: int
    restarts: int
    seed: int = 1
    gap: float = 1.8


@dataclass
class BridgeVerdict:
    """What came of it. doubled: jobs of events with an id that no kill explains, or that have two jobs.

    foreign: jobs more than events without an id. rerun: jobs that were in flight at a kill. again: for each restart the
    seconds from the answer of the server until a worker consumed.
    """

    events: int
    kills: int
    restarts: int
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    foreign: int = 0
    rerun: int = 0
    repeated: int = 0
    again: list[float] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, nothing doubled without a kill, and each restart was noticed in time."""
        return not self.lost and not self.doubled and max(self.again, default=0.0) <= AGAIN

    def __str__(self) -> str:
        again = sorted(self.again) or [0.0]
        return (
            f"{self.events:,} events, {self.kills} kills of workers, {self.restarts} of RabbitMQ: {len(self.lost)} "
            f"lost, {len(self.doubled)} doubled, {self.rerun} run again after a kill in mid run, {self.foreign} "
            f"doubled of {self.events // FOREIGN:,} without an id; {self.repeated} publishes repeated; "
            f"consuming again after {again[len(again) // 2]:.1f} s (median), {again[-1]:.1f} s at most"
        )


class BridgeDrill:
    """One run: a producer in this process, a supervisor with workers, and blows from a seed."""

    def __init__(self, orders: BridgeOrders, folder: Path, server: RabbitServer) -> None:
        self.orders = orders
        self.server = server
        self.ledger = Ledger(folder / "ledger")
        self.log = folder / "log"
        self.store = f"sqlite:{folder / 'jobs.db'}"
        self.app = Outlast("bridge-faults", settings=Settings(url=self.store, amqp_url=server.url, enqueue_timeout=2.0))
        for known in declared.registry.exchanges.values():
            self.app.registry.add_exchange(known)
        for queue in declared.registry.queues.values():
            self.app.registry.add_queue(queue)
        for declaration in declared.registry.declarations.values():
            self.app.registry.add(declaration)
        self.foreign = AmqpClient(AmqpAddress.of(server.url))
        self.killed: set[int] = set()
        self.restarted = 0
        self.repeated = 0
        self.again: list[float] = []
        self.struck = asyncio.Event()

    async def run(self) -> BridgeVerdict:
        """Do all that is ordered, wait until each event has been dealt with, and judge."""
        environ = {
            "OUTLAST_URL": self.store,
            "OUTLAST_AMQP_URL": self.server.url,
            "OUTLAST_TEST_LEDGER": str(self.ledger.path),
        }
        self.ledger.path.touch()
        await self.app.runtime()
        target = "tests.faults.rabbitmq.bridge_app:app"
        try:
            with supervised(target, environ, self.log, processes=WORKERS, concurrency=50) as running:
                producing = asyncio.create_task(self._produce())
                await self._strike(running)
                self.struck.set()
                await producing
                await self._quiet(running)
            return await self._judge()
        finally:
            await self.foreign.close()
            await self.app.close()

    async def _produce(self) -> None:
        """Publish in batches of 50, as long as blows come; the last events after the last one."""
        rng = random.Random(f"produce {self.orders.seed}")
        pause = self.orders.gap * (self.orders.kills + self.orders.restarts) * 50 / self.orders.events
        for start in range(0, self.orders.events, 50):
            names = [f"e-{n}" for n in range(start, min(start + 50, self.orders.events))]
            ours = [name for name in names if int(name[2:]) % FOREIGN]
            bodies = {name: {"name": name, "seconds": round(rng.uniform(0, 0.3), 3)} for name in names}
            events = [exchange_event(self.app, name, bodies[name]) for name in ours]
            await self._until_accepted(events)
            rest = [
                AmqpMessage("orders", "order.foreign", bytes(encode_value(bodies[name])), MessageProperties())
                for name in names
                if name not in ours
            ]
            while rest:
                answers = await self.foreign.publish(rest, 2.0)
                rest = [each for each, told in zip(rest, answers, strict=True) if told.outcome != "confirmed"]
                if rest:
                    self.repeated += 1
                    await asyncio.sleep(0.05)
            if not self.struck.is_set():
                await asyncio.sleep(rng.uniform(0, 2 * pause))

    async def _until_accepted(self, events: list[ExchangeEvent]) -> None:
        while True:
            try:
                await self.app.publish_events(events)
            except (EnqueueUnknown, StoreError):
                self.repeated += 1
                await asyncio.sleep(0.05)
            else:
                return

    async def _strike(self, running: Supervised) -> None:
        rng = random.Random(f"strike {self.orders.seed}")
        blows = ["kill"] * self.orders.kills + ["restart"] * self.orders.restarts
        rng.shuffle(blows)
        for number, blow in enumerate(blows, 1):
            await asyncio.sleep(rng.uniform(0.3, 1.7) * self.orders.gap)
            if blow == "kill":
                victim = rng.choice(await until(lambda: self._workers(running), "a worker lives"))
                self.killed.add(victim)
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            else:
                await asyncio.to_thread(self.server.kill)
                await asyncio.to_thread(self.server.start)
                await self._consumed_again()
            if number % 20 == 0:
                print(f"{number} of {len(blows)} blows", file=sys.stderr)

    def _workers(self, running: Supervised) -> list[int]:
        if running.process.poll() is not None:
            raise RuntimeError(f"the supervisor gave up: {self.log.read_text()[-2000:]}")
        return running.workers()

    async def _consumed_again(self) -> None:
        """Measure how long it takes until a worker consumes: the server counts its consumers."""
        answered = time.monotonic()
        client = AmqpClient(AmqpAddress.of(self.server.url))
        try:

            async def consumed() -> bool:
                with suppress(StoreError):
                    return (await client.declarations.find_queue("billing")).consumers > 0
                return False

            await until(consumed, "a worker consumes again")
        finally:
            await client.close()
        self.restarted += 1
        self.again.append(time.monotonic() - answered)

    async def _quiet(self, running: Supervised) -> None:
        """Wait until each event has been dealt with, and nothing is left in RabbitMQ and in the store."""
        store = (await self.app.runtime()).store
        client = AmqpClient(AmqpAddress.of(self.server.url))

        async def done() -> bool:
            self._workers(running)
            left = (await client.declarations.find_queue("billing")).messages
            return not left and not (await store.broker.stats(["billing"]))["billing"].depth and self._all_ended()

        try:
            with suppress(AssertionError):  # the verdict tells what is left
                await until(done, "all events are dealt with", within=LEFT)
        finally:
            await client.close()

    def _all_ended(self) -> bool:
        return len(self.ledger.names("end")) >= self.orders.events

    async def _judge(self) -> BridgeVerdict:
        entries = self.ledger.read()
        runs: dict[str, list[Entry]] = {}
        for each in entries:
            if each.word == "start":
                runs.setdefault(each.name, []).append(each)
        ended = self.ledger.names("end")
        verdict = BridgeVerdict(
            self.orders.events, len(self.killed), self.restarted, repeated=self.repeated, again=self.again
        )
        jobs = await self._jobs()
        for number in range(self.orders.events):
            name = f"e-{number}"
            starts = runs.get(name, [])
            if not ended[name]:
                verdict.lost.append(name)
            elif number % FOREIGN == 0:
                verdict.foreign += jobs[name] - 1
            elif jobs[name] != 1 or any(each.pid not in self.killed for each in starts[:-1]):
                verdict.doubled.append(name)
            else:
                verdict.rerun += len(starts) - 1
        return verdict

    async def _jobs(self) -> Counter[str]:
        """Count the jobs in the store by the name of their event."""
        records = (await self.app.runtime()).store.records
        found: Counter[str] = Counter()
        cursor: str | None = None
        while True:
            page = await records.find(Query(queue="billing", limit=1000, cursor=cursor))
            found.update(each.args["order"]["name"] for each in page.records)
            cursor = page.cursor
            if cursor is None:
                return found


def exchange_event(app: Outlast, name: str, body: dict[str, object]) -> ExchangeEvent:
    """Return the event of this name."""
    return app.compose_event(exchange.name, f"order.{name}", body, {"id": name})


async def survive(orders: BridgeOrders, folder: Path) -> BridgeVerdict:
    """Do all that is ordered in `folder`, with a RabbitMQ of its own; return what came of it."""
    server = RabbitServer()
    try:
        await asyncio.to_thread(server.start)
        return await BridgeDrill(orders, folder, server).run()
    finally:
        server.remove()


def main(words: list[str]) -> int:
    """Run it as the command line says; exit code 0 when it holds."""
    events, kills, restarts, seed, gap = [*words, *("20000", "200", "20", "1", "1.8")[len(words) :]][:5]
    orders = BridgeOrders(int(events), int(kills), int(restarts), int(seed), float(gap))
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        verdict = asyncio.run(survive(orders, Path(folder)))
    print(f"{verdict}; {time.monotonic() - began:.0f} s in all")
    for each in [*verdict.lost[:20], *verdict.doubled[:20]]:
        print(each)
    return int(not verdict.holds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
