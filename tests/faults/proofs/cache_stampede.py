"""Misses of one key by four processes, and a killed server: `python -m tests.faults.proofs.cache_stampede`.

Judged: 10,000 concurrent misses are 1 computation, on SQLite and on Redis. While Redis is killed, readers go on from
the source, at most the bulkhead's number at once, and 99.9% of the answers and refusals come within the deadline +
50 ms. The deadline of a reader is the sum of its waits: for the store, for its turn, and for the source.
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
    miss_together,
    read_through_outage,
)
from tests.support.servers.redis_server import RedisServer

DEADLINE = TIMEOUT + MAX_WAIT + TAKES


async def prove(processes: int, callers: int, readers: int, answers: int) -> bool:
    clean, server = True, RedisServer()
    server.start()
    try:
        for place in ("sqlite", "redis"):
            with tempfile.TemporaryDirectory() as folder:
                url = f"{server.url}?timeout=60" if place == "redis" else f"sqlite:{folder}/toolkit.db"
                began = time.monotonic()
                computed, right = await miss_together(url, Path(folder), processes=processes, callers=callers)
            print(
                f"{place}: {processes * callers:,} misses of {processes} processes: {computed} computations, "
                f"{right:,} right values, {time.monotonic() - began:.1f} s",
                flush=True,
            )
            clean = clean and computed == 1 and right == processes * callers
        seen = await read_through_outage(server, readers=readers, answers=answers)
    finally:
        server.remove()
    print(
        f"redis killed: {seen.answers:,} answers from the source, {seen.refused:,} refused, {len(seen.wrong)} wrong, "
        f"{seen.at_once} at once (of {CONCURRENCY}), p99.9 {seen.slowest:.3f} s (deadline {DEADLINE:.2f} s), "
        f"{'whole again' if seen.back else 'NOT whole'} within 5 s"
    )
    on_time = seen.slowest <= DEADLINE + 0.05
    return (
        clean and on_time and not seen.wrong and seen.answers >= answers and seen.at_once <= CONCURRENCY and seen.back
    )


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
