"""Misses of one key by four processes, and a killed server: `python -m tests.faults.proofs.cache_stampede`.

Judged: 10,000 concurrent misses are 1 computation, on SQLite, Redis and Memcached. While one of the servers is killed,
readers go on from the source, at most the bulkhead's number at once, and 99.9% of the answers and refusals come within
the deadline + 50 ms. The deadline of a reader is the sum of its waits: for the store, for its turn, and for the source.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.toolkit.stampede import (
    CONCURRENCY,
    MAX_WAIT,
    TAKES,
    TIMEOUT,
    Killable,
    miss_together,
    read_through_outage,
)
from tests.support.servers.memcached_server import MemcachedServer
from tests.support.servers.redis_server import RedisServer

DEADLINE = TIMEOUT + MAX_WAIT + TAKES


async def miss(place: str, url: str, processes: int, callers: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        began, tags = time.monotonic(), () if place == "memcached" else ("t",)
        at = url or f"sqlite:{folder}/toolkit.db"
        computed, right = await miss_together(at, Path(folder), processes=processes, callers=callers, tags=tags)
    print(
        f"{place}: {processes * callers:,} misses of {processes} processes: {computed} computations, "
        f"{right:,} right values, {time.monotonic() - began:.1f} s",
        flush=True,
    )
    return computed == 1 and right == processes * callers


async def read(place: str, server: Killable, readers: int, answers: int) -> bool:
    seen = await read_through_outage(server, readers=readers, answers=answers)
    print(
        f"{place} killed: {seen.answers:,} answers from the source, {seen.refused:,} refused, {len(seen.wrong)} wrong, "
        f"{seen.at_once} at once (of {CONCURRENCY}), p99.9 {seen.slowest:.3f} s (deadline {DEADLINE:.2f} s), "
        f"{'whole again' if seen.back else 'NOT whole'} within 5 s",
        flush=True,
    )
    on_time = seen.slowest <= DEADLINE + 0.05
    return on_time and not seen.wrong and seen.answers >= answers and seen.at_once <= CONCURRENCY and seen.back


async def prove(processes: int, callers: int, readers: int, answers: int) -> bool:
    redis, memcached = RedisServer(), MemcachedServer()
    redis.start()
    memcached.start()
    try:
        missed = [
            await miss("sqlite", "", processes, callers),
            await miss("redis", f"{redis.url}?timeout=60", processes, callers),
            await miss("memcached", memcached.url, processes, callers),
        ]
        read_on = [
            await read("redis", redis, readers, answers),
            await read("memcached", memcached, readers, answers),
        ]
    finally:
        redis.remove()
        memcached.stop()
    return all(missed) and all(read_on)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--callers", type=int, default=2_500)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--answers", type=int, default=10_000)
    given = parser.parse_args()
    sys.exit(not asyncio.run(prove(given.processes, given.callers, given.readers, given.answers)))


if __name__ == "__main__":
    main()
