"""Kills workers and the RabbitMQ under a bridge at random moments while events come, and judges by the ledger.

`python -m tests.faults.proofs.bridge sqlite` or `redis`, the store into which the events are moved; `--help`: options.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
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
from outlast.core.exchanges.copies import copy_id
from outlast.core.exchanges.values import ExchangeEvent
from outlast.core.store.records import Query
from tests.faults.rabbitmq.again import Consumption, Restarts
from tests.faults.rabbitmq.bridge_app import app as declared
from tests.faults.rabbitmq.bridge_app import orders as exchange
from tests.support.ledger import Entry
from tests.support.origin import origin
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import RabbitServer
from tests.support.stage import Stage
from tests.support.store_urls import KINDS, store_url
from tests.support.supervise import Supervised

__all__ = ["BridgeOrders", "BridgeVerdict", "survive"]

WORKERS: Final = 4
FOREIGN: Final = 10
"""One event of so many comes from a client that gives no message_id: it may double."""
LEFT: Final = 120.0
"""Seconds that events have at the end until each has been dealt with."""


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

    events: all, with those that were published while the workers came back. foreign: jobs more than events without an
    id, which are `idless`. rerun: jobs that were in flight at a kill.
    """

    events: int
    kills: int
    idless: int
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    foreign: int = 0
    rerun: int = 0
    repeated: int = 0
    again: Restarts = field(default_factory=Restarts)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, and nothing doubled without a kill."""
        return not self.lost and not self.doubled

    def __str__(self) -> str:
        return (
            f"{self.events:,} events, {self.kills} kills of workers, {len(self.again.seen)} of RabbitMQ: "
            f"{len(self.lost)} lost, {len(self.doubled)} doubled, {self.rerun} run again after a kill in mid run, "
            f"{self.foreign} doubled of {self.idless:,} without an id; {self.repeated} publishes repeated; {self.again}"
        )


class BridgeDrill(Stage):
    """One run: a producer in this process, a supervisor with workers, and blows from a seed."""

    def __init__(self, orders: BridgeOrders, folder: Path, store: str, server: RabbitServer, vhost: str) -> None:
        url = server.url_of(vhost)
        super().__init__(
            declared,
            "tests.faults.rabbitmq.bridge_app:app",
            folder,
            Settings(url=store, amqp_url=url, enqueue_timeout=2.0),
            {"OUTLAST_URL": store, "OUTLAST_AMQP_URL": url},
            whole=True,
        )
        self.orders = orders
        self.server = server
        self.vhost = vhost
        self.client = AmqpClient(AmqpAddress.of(url))
        """As one of another team; and it looks at the queue."""
        self.sent: list[str] = []
        self.killed: set[int] = set()
        self.repeated = 0
        self.again = Restarts()
        self.struck = asyncio.Event()

    async def run(self) -> BridgeVerdict:
        """Do all that is ordered, wait until each event has been dealt with, and judge."""
        await self.app.runtime()
        try:
            with self.start(processes=WORKERS, concurrency=50) as running:
                await until(self._consumed, "a worker consumes")
                await asyncio.to_thread(self.server.save_queues)
                producing = asyncio.create_task(self._produce())
                await self._strike(running)
                self.struck.set()
                await producing
                await self._quiet(running)
            return await self._judge()
        finally:
            await self.client.close()
            await self.app.close()

    async def _produce(self) -> None:
        """Publish in batches of 50, as long as blows come; the last events after the last one."""
        rng = random.Random(f"produce {self.orders.seed}")
        pause = self.orders.gap * (self.orders.kills + self.orders.restarts) * 50 / self.orders.events
        for start in range(0, self.orders.events, 50):
            names = [f"e-{n}" for n in range(start, min(start + 50, self.orders.events))]
            bodies = {name: {"name": name, "seconds": round(rng.uniform(0, 0.3), 3)} for name in names}
            await self._publish({name: body for name, body in bodies.items() if not idless(name)})
            await self._publish_foreign([body for name, body in bodies.items() if idless(name)])
            self.sent += names
            if not self.struck.is_set():
                await asyncio.sleep(rng.uniform(0, 2 * pause))

    async def _publish_foreign(self, bodies: Sequence[dict[str, object]]) -> None:
        """Publish events without an id, each again until it is confirmed."""
        rest = [
            AmqpMessage("orders", "order.foreign", bytes(encode_value(body)), MessageProperties()) for body in bodies
        ]
        while rest:
            answers = await self.client.publish(rest, 2.0)
            rest = [each for each, told in zip(rest, answers, strict=True) if told.outcome != "confirmed"]
            if rest:
                self.repeated += 1
                await asyncio.sleep(0.05)  # a client that repeats at once would take the restarting server's time

    async def _publish(self, bodies: dict[str, dict[str, object]]) -> None:
        """Publish events with ids, again until they are accepted."""
        events = [exchange_event(self.app, name, body) for name, body in bodies.items()]
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
                victim = rng.choice(await until(lambda: self.workers(running), "a worker lives"))
                self.killed.add(victim)
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            else:
                await self._restart(running)
            if number % 20 == 0:
                print(f"{number} of {len(blows)} blows", file=sys.stderr)

    async def _restart(self, running: Supervised) -> None:
        """Kill RabbitMQ and start it; measure how long it takes until the workers consume."""

        async def send(names: Sequence[str]) -> None:
            await self._publish({name: {"name": name, "seconds": 0.05} for name in names})
            self.sent += names

        consumption = Consumption(self.ledger, lambda: self.workers(running), WORKERS, send, "moved", job_id)
        self.again.seen.append(await consumption.restart(self.server, self.server.url_of(self.vhost)))

    async def _consumed(self) -> bool:
        return (await self.client.declarations.find_queue("billing")).consumers > 0

    async def _quiet(self, running: Supervised) -> None:
        """Wait until each event has been dealt with, and nothing is left in RabbitMQ and in the store."""
        store = (await self.app.runtime()).store

        async def done() -> bool:
            self.workers(running)
            left = (await self.client.declarations.find_queue("billing")).messages
            return not left and not (await store.broker.stats(["billing"]))["billing"].depth and self._all_ended()

        with suppress(AssertionError):  # the verdict tells what is left
            await until(done, "all events are dealt with", within=LEFT)

    def _all_ended(self) -> bool:
        return len(self.ledger.names("end")) >= len(self.sent)

    async def _judge(self) -> BridgeVerdict:
        entries = self.ledger.read()
        runs: dict[str, list[Entry]] = {}
        for each in entries:
            if each.word == "start":
                runs.setdefault(each.name, []).append(each)
        ended = self.ledger.names("end")
        verdict = BridgeVerdict(
            len(self.sent), len(self.killed), sum(map(idless, self.sent)), repeated=self.repeated, again=self.again
        )
        jobs = await self._jobs()
        for name in self.sent:
            starts = runs.get(name, [])
            if not ended[name]:
                verdict.lost.append(name)
            elif idless(name):
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


def job_id(name: str) -> str:
    """Return the id of the job that an event of this name becomes."""
    return copy_id(exchange.name, name, "billing")


def idless(name: str) -> bool:
    """Tell whether the event of this name is published without an id."""
    return name.startswith("e-") and int(name[2:]) % FOREIGN == 0


def exchange_event(app: Outlast, name: str, body: dict[str, object]) -> ExchangeEvent:
    """Return the event of this name."""
    return app.compose_event(exchange.name, f"order.{name}", body, {"id": name})


async def survive(
    orders: BridgeOrders, folder: Path, store: str, server: RabbitServer, vhost: str = "/"
) -> BridgeVerdict:
    """Do all that is ordered, with a store of this URL and a RabbitMQ that may be killed; return what came of it."""
    return await BridgeDrill(orders, folder, store, server, vhost).run()


def main() -> int:
    """Run it as the command line says; exit code 0 when it holds and the workers consumed again in time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=KINDS)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gap", type=float, default=1.8, help="seconds between two kills, on average")
    given = parser.parse_args()
    print(origin(given.seed), flush=True)
    orders = BridgeOrders(given.events, given.kills, given.restarts, given.seed, given.gap)
    began, server = time.monotonic(), RabbitServer()
    with tempfile.TemporaryDirectory() as folder, store_url(given.store, Path(folder)) as url:
        try:
            server.start()
            verdict = asyncio.run(survive(orders, Path(folder), url, server))
        finally:
            server.remove()
    print(f"{given.store}: {verdict}; {time.monotonic() - began:.0f} s in all")
    for each in [*verdict.lost[:20], *verdict.doubled[:20]]:
        print(each)
    return int(not (verdict.holds and verdict.again.in_time))


if __name__ == "__main__":
    sys.exit(main())
