"""Cancels calls to a Redis in mid flight and looks for an answer that reached another call.

`python -m tests.faults.proofs.redis_cancels [CALLS]`: 100,000 cancelled calls by default, on a server of its own.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.clients.redis.scripts import Script
from tests.support.origin import origin
from tests.support.servers.redis_fleet import node

__all__ = ["Count", "cancel"]

TEXT = "return ARGV[1]"
ECHO = Script(TEXT, sha1(TEXT.encode()).hexdigest())
AT_ONCE = 50
SEED = 1
LONGEST = 0.002
"""Seconds after which a call is cancelled at the latest: most are answered in less."""


@dataclass
class Count:
    """What became of the calls. crossed: answered with the answer to another call."""

    cancelled: int = 0
    answered: int = 0
    crossed: int = 0


async def cancel(url: str, calls: int, seed: int) -> Count:
    """Make calls, cancelling some at random moments, until so many were cancelled before their answer."""
    rng, count, number = random.Random(seed), Count(), 0
    loop = asyncio.get_running_loop()
    client = RedisClient(Address.of(url))
    await client.open()
    try:
        while count.cancelled < calls:
            asked: dict[str, asyncio.Task[bytes]] = {}
            for _ in range(AT_ONCE):
                number += 1
                asked[f"{number}"] = task = asyncio.create_task(client.run(ECHO, ["k"], [f"{number}"]))
                if rng.random() < 0.8:
                    loop.call_later(rng.random() * LONGEST, task.cancel)
            await asyncio.wait(asked.values())
            for name, task in asked.items():
                if task.cancelled():
                    count.cancelled += 1
                else:
                    count.answered += 1
                    count.crossed += task.result() != name.encode()
    finally:
        await client.close()
    return count


def main(calls: int) -> int:
    """Run it; return the exit code: 0 when no answer went astray."""
    print(origin(SEED), flush=True)
    with tempfile.TemporaryDirectory() as folder, node(Path(folder)) as server:
        began = time.monotonic()
        count = asyncio.run(cancel(server.url, calls, seed=SEED))
        connections = int(
            dict(line.split(b":") for line in server.ask("INFO", "stats").split(b"\r\n") if b":" in line)[
                b"total_connections_received"
            ]
        )
    print(
        f"{count.cancelled:,} calls cancelled, {count.answered:,} answered, {count.crossed} answers astray, "
        f"{connections:,} connections, {time.monotonic() - began:.0f} s"
    )
    return int(count.crossed > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
