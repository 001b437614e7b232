"""One process of a stampede: `python -m tests.faults.toolkit.stampede_child URL CALLERS LOG [TAG...]`.

It connects, prints "ready", and at a line on stdin reads one key CALLERS times at once. Each computation appends a line
to LOG. It prints the number of right values.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from outlast.aio.clock import SystemClock
from outlast.toolkit.access import Toolkit
from tests.support.toolkit_cache import cache_on

TAKES = 0.5
"""Seconds of one computation."""


async def stampede(url: str, callers: int, log: Path, tags: list[str]) -> int:
    kit = Toolkit(url, clock=SystemClock(), timeout=30)
    cache = cache_on(kit)

    async def compute() -> list[str]:
        with log.open("a") as file:
            file.write("computed\n")
        await asyncio.sleep(TAKES)
        return ["value"]

    await kit.check()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    reads = (cache.get_or_set("k", compute, ttl="5m", tags=tags) for _ in range(callers))
    values = await asyncio.gather(*reads)
    await kit.close()
    return values.count(["value"])


if __name__ == "__main__":
    print(asyncio.run(stampede(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])), flush=True)
