"""Cuts the connections to a RabbitMQ under load, and looks at what was confirmed and at what is left of them.

`python -m tests.faults.proofs.amqp_cuts [--cuts 50] [--rate 5000]`: on a server of its own, through a proxy in a
process of its own. After some cuts to warm up, everything that the client has is counted; after the others again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from outlast.clients.amqp.channel import AmqpChannel
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.consumer import AmqpConsumer, AmqpDelivery
from outlast.clients.amqp.handshake import PikaHandshake
from outlast.clients.amqp.wire import AmqpWire
from tests.support.amqp import QUORUM, amqp, message, through
from tests.support.origin import origin
from tests.support.polling import until
from tests.support.servers.proxy_process import ProxyProcess, proxy_process
from tests.support.servers.rabbitmq_server import RabbitServer

__all__ = ["CutOrders", "Cuts", "Kept", "cut"]

PUBLISHERS: Final = 20
BATCH: Final = 50
RATE: Final = 5_000
"""Messages that are confirmed in a second."""
OURS: Final = ("outlast.clients.amqp", "pika")
MEMORY: Final = 2 * 1024 * 1024
"""Bytes by which the process may grow: 20 kB for each of the 100 connections that end in 50 cuts."""
BLOCKS: Final = 50
"""Blocks of memory that may stay for each cut: the objects of one connection that is kept take a hundred."""


@dataclass(frozen=True)
class CutOrders:
    """What is done. warm: cuts before the first count. between: messages that are confirmed between two cuts."""

    cuts: int = 50
    warm: int = 10
    between: int = 5_000
    rate: int = RATE


@dataclass(frozen=True)
class Kept:
    """What there is while nothing is published and all has arrived: objects in memory, and what the system has.

    futures: not done. objects: all of the modules of the client and of pika. blocks: of Python's own allocator.
    memory: resident bytes. channels_there, connections_there: as the server has them.
    """

    connections: int
    handshakes: int
    channels: int
    futures: int
    objects: int
    descriptors: int
    blocks: int
    memory: int
    connections_there: int
    channels_there: int


@dataclass
class Cuts:
    """What became of the messages, and what was there before and after the cuts.

    lost: confirmed, and not delivered. made: connections. seconds: of the cuts that count, in which `confirmed`
    messages were confirmed. left: the futures that are not done when the client is closed, and were not there before.
    """

    orders: CutOrders
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    made: int = 0
    confirmed: int = 0
    seconds: float = 0.0
    kept: list[Kept] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Messages that were confirmed in a second, over all cuts and the reconnections."""
        return self.confirmed / self.seconds

    @property
    def faults(self) -> list[str]:
        """What is wrong: what was lost, and what there is more of than before the cuts."""
        before, after = self.kept
        found = [f"{self.lost} messages were confirmed and lost"] if self.lost else []
        if self.left:
            found.append(f"{len(self.left)} futures of a closed client are not done: {self.left}")
        allowed = {"blocks": BLOCKS * self.orders.cuts, "memory": MEMORY}
        for name, number in vars(after).items():
            most = vars(before)[name] + allowed.get(name, 0)
            if number > most:
                found.append(f"{name}: {vars(before)[name]:,} before, {number:,} after")
        return found


class Delivered:
    """Notes which messages were delivered, by number, and acknowledges them. It takes no more memory for a message."""

    def __init__(self, capacity: int) -> None:
        self.came = bytearray(b"\0") * capacity
        self.consumer: AmqpConsumer | None = None

    def __call__(self, delivery: AmqpDelivery) -> None:
        self.came[int(delivery.body)] = 1
        if self.consumer is not None:
            self.consumer.ack(delivery.epoch, [delivery.tag])


class Load:
    """Publishers that together have so many messages confirmed in a second; they catch up after a cut."""

    def __init__(self, client: AmqpClient, rate: int, capacity: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.confirmed = bytearray(b"\0") * capacity
        self.paused = asyncio.Event()
        self._client = client
        self._rate = rate
        self._number = 0

    async def run(self, confirmed: int, cut: ProxyProcess, between: int) -> float:
        """Publish until so many more are confirmed, with a cut after each `between`; return the seconds it took."""
        self.paused.clear()
        began, before = time.monotonic(), self.outcomes["confirmed"]
        publishing = [asyncio.create_task(self._publish(began, before)) for _ in range(PUBLISHERS)]
        for goal in range(before + between, before + confirmed + 1, between):
            await until(partial(self._reached, goal), f"{goal} messages are confirmed")
            await asyncio.to_thread(cut.reset)
        took = time.monotonic() - began
        self.paused.set()
        await asyncio.gather(*publishing)
        return took

    def _reached(self, goal: int) -> bool:
        return self.outcomes["confirmed"] >= goal

    async def _publish(self, began: float, before: int) -> None:
        while not self.paused.is_set():
            early = (self.outcomes["confirmed"] - before) / self._rate - (time.monotonic() - began)
            if early > 0:
                await asyncio.sleep(early)
            numbers = range(self._number, self._number + BATCH)
            self._number += BATCH
            answers = await self._client.publish([message("q", b"%d" % number) for number in numbers], 20)
            for number, answer in zip(numbers, answers, strict=True):
                self.outcomes[answer.outcome] += 1
                self.confirmed[number] = answer.outcome == "confirmed"


async def cut(server: RabbitServer, vhost: str, orders: CutOrders) -> Cuts:
    """Cut both connections so many times while messages are published and consumed."""
    found = Cuts(orders)
    capacity = 4 * (orders.cuts + orders.warm) * (orders.between + PUBLISHERS * BATCH)
    idle = _pending()
    with proxy_process(server.port) as proxy:
        async with amqp(through(proxy, server, vhost)) as client:
            await client.declarations.declare_queue("q", arguments=QUORUM)
            got = Delivered(capacity)
            got.consumer = client.consume("q", 1000, got)
            load = Load(client, orders.rate, capacity)
            await load.run(orders.warm * orders.between, proxy, orders.between)
            found.kept.append(await _at_rest(client, load, got, server, vhost))
            before = load.outcomes["confirmed"]
            found.seconds = await load.run(orders.cuts * orders.between, proxy, orders.between)
            found.confirmed = load.outcomes["confirmed"] - before
            found.kept.append(await _at_rest(client, load, got, server, vhost))
            found.lost = _missing(load, got)
            found.outcomes = load.outcomes
            found.made = client._publishing.made + client._consuming.made
            del client, load, got
    found.left = [repr(each) for each in _pending() if each not in idle]
    return found


def _missing(load: Load, got: Delivered) -> int:
    return (int.from_bytes(load.confirmed) & ~int.from_bytes(got.came)).bit_count()


async def _at_rest(client: AmqpClient, load: Load, got: Delivered, server: RabbitServer, vhost: str) -> Kept:
    """Wait until all has come and both connections are there; return what is kept."""
    consumer = got.consumer
    assert consumer is not None
    # What was lost never comes: the verdict tells it.
    deadline = time.monotonic() + 60
    while _missing(load, got) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await consumer.ready()
    answer = await client.publish([message("q", b"0")], 20)
    assert answer[0].outcome == "confirmed", answer
    await until(lambda: not client.unconfirmed, "no message is without an answer")

    async def settled() -> bool:
        return not (await client.declarations.find_queue("q")).messages

    await until(settled, "the queue is empty", within=60)
    there = (0, 0)

    async def as_few_there() -> bool:
        nonlocal there
        there = await asyncio.to_thread(_there, server, vhost)
        return there[0] == 2

    await until(as_few_there, "the server has two connections of the client", within=60)
    return _kept(there)


def _there(server: RabbitServer, vhost: str) -> tuple[int, int]:
    """Return the connections and channels that the server has of this virtual host, as they are now."""
    counted = [
        server.ctl("list_connections", "--no-table-headers", "vhost"),
        server.ctl("list_channels", "--no-table-headers", "vhost"),
    ]
    connections, channels = [text.split().count(vhost) for text in counted]
    return connections, channels


def _kept(there: Sequence[int]) -> Kept:
    gc.collect()
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    return Kept(
        kinds[AmqpWire],
        kinds[PikaHandshake],
        kinds[AmqpChannel],
        len(_pending()),
        sum(number for kind, number in kinds.items() if kind.__module__.startswith(OURS)),
        sum(each.exists() for each in Path("/dev/fd").iterdir()),
        sys.getallocatedblocks(),
        psutil.Process().memory_info().rss,
        *there,
    )


def _pending() -> list[asyncio.Future[Any]]:
    """Return the futures of the running loop that are not done; a loop of another thread makes its own meanwhile."""
    gc.collect()
    loop = asyncio.get_running_loop()
    return [each for each in gc.get_objects() if isinstance(each, asyncio.Future) and _waits(each, loop)]


def _waits(each: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> bool:
    return not each.done() and each.get_loop() is loop


def main() -> int:
    """Run it; exit code 0 when nothing was lost, nothing is left, and the load was as high as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--rate", type=int, default=RATE)
    given = parser.parse_args()
    print(origin(), flush=True)
    server = RabbitServer()
    try:
        server.start()
        found = asyncio.run(cut(server, "/", CutOrders(cuts=given.cuts, rate=given.rate)))
    finally:
        server.remove()
    faults = found.faults
    if found.rate < 0.95 * given.rate:
        faults.append(f"only {found.rate:,.0f} of {given.rate:,} messages were confirmed in a second")
    print(
        f"{given.cuts} cuts in {found.seconds:.0f} s, {found.rate:,.0f} messages confirmed in a second, "
        f"{found.made} connections with those of {found.orders.warm} cuts before"
    )
    print(f"answers: {dict(found.outcomes)}; confirmed and lost: {found.lost}; futures when closed: {len(found.left)}")
    for when, kept in zip(("before", "after"), found.kept, strict=True):
        print(f"{when}: {kept}")
    for fault in faults:
        print(f"fault: {fault}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
