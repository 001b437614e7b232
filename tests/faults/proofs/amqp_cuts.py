"""Cuts the connections to a RabbitMQ under load, and looks at what was confirmed and at what is left of them.

`python -m tests.faults.proofs.amqp_cuts [CUTS]`: 50 cuts by default, on a server of its own.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from outlast.clients.amqp.channel import AmqpChannel
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.handshake import PikaHandshake
from outlast.clients.amqp.wire import AmqpWire
from tests.support.amqp import QUORUM, Collector, amqp, message, through
from tests.support.polling import until
from tests.support.servers.proxy import proxied
from tests.support.servers.rabbitmq_server import RabbitServer

__all__ = ["Cuts", "cut"]

PUBLISHERS = 20
BATCH = 10
BETWEEN = 500
"""Messages that are confirmed between two cuts."""


@dataclass
class Cuts:
    """What became of the messages, and what was there before and after the cuts.

    lost: confirmed, and not delivered. made: connections. kept: connections and channels in memory, futures that are
    not done, open descriptors; before and after.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    made: int = 0
    kept: list[dict[str, int]] = field(default_factory=list)


async def cut(server: RabbitServer, vhost: str, cuts: int) -> Cuts:
    """Cut both connections so many times while messages are published and consumed."""
    found = Cuts()
    async with proxied(server.port) as proxy, amqp(through(proxy, server, vhost)) as client:
        await client.declarations.declare_queue("q", arguments=QUORUM)
        got = Collector(ack=True)
        consumer = got.consume(client, "q")
        await client.publish([message("q", b"first")], 20)
        await got.have(1)
        found.kept.append(_kept())
        confirmed: set[bytes] = set()
        over = asyncio.Event()
        load = [
            asyncio.create_task(_publish(client, name, found.outcomes, confirmed, over)) for name in range(PUBLISHERS)
        ]
        for _ in range(cuts):
            await until(partial(_more, confirmed, len(confirmed)), "messages are confirmed")
            proxy.reset()
        over.set()
        await asyncio.gather(*load)
        await until(lambda: confirmed <= set(got.bodies), "all that was confirmed has come", within=60)
        found.lost = len(confirmed - set(got.bodies))
        await consumer.ready()
        await until(lambda: not client.unconfirmed, "no message is without an answer")
        # The proxy closes its side of the last connections a little later.
        await until(lambda: _kept()["descriptors"] <= found.kept[0]["descriptors"], "they are closed", within=20)
        found.kept.append(_kept())
        found.made = client._publishing.made + client._consuming.made
    return found


def _more(confirmed: set[bytes], before: int) -> bool:
    return len(confirmed) >= before + BETWEEN


async def _publish(
    client: AmqpClient, name: int, outcomes: Counter[str], confirmed: set[bytes], over: asyncio.Event
) -> None:
    """Publish batches until it is over."""
    number = 0
    while not over.is_set():
        bodies = [b"%d-%d" % (name, number + each) for each in range(BATCH)]
        number += BATCH
        answers = await client.publish([message("q", body) for body in bodies], 20)
        outcomes.update(answer.outcome for answer in answers)
        confirmed.update(body for body, answer in zip(bodies, answers, strict=True) if answer.outcome == "confirmed")


def _kept() -> dict[str, int]:
    gc.collect()
    every = gc.get_objects()

    def count(kind: type) -> int:
        return sum(isinstance(each, kind) for each in every)

    return {
        "connections": count(AmqpWire),
        "handshakes": count(PikaHandshake),
        "channels": count(AmqpChannel),
        "futures": sum(isinstance(each, asyncio.Future) and not each.done() for each in every),
        "descriptors": sum(each.exists() for each in Path("/dev/fd").iterdir()),
    }


def main(cuts: int) -> int:
    """Run it; return the exit code: 0 when nothing was lost."""
    server = RabbitServer()
    try:
        server.start()
        began = time.monotonic()
        found = asyncio.run(cut(server, "/", cuts))
    finally:
        server.remove()
    took = time.monotonic() - began
    print(f"{cuts} cuts in {took:.0f} s, {found.outcomes.total() / took:,.0f} publishes/s, {found.made} connections")
    print(f"answers: {dict(found.outcomes)}; confirmed and lost: {found.lost}")
    for when, kept in zip(("before", "after"), found.kept, strict=True):
        print(f"{when}: {kept}")
    return int(found.lost > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
