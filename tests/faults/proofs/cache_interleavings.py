"""Reads, updates and invalidations of the cache: `python -m tests.faults.proofs.cache_interleavings [--number 10000]`.

On each store, the caches of two processes are driven through this many interleavings. Judged: 0 old values after an
invalidation (tests/faults/toolkit/interleavings.py).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from outlast.aio.clock import SystemClock
from tests.faults.toolkit.interleavings import interleave
from tests.support.toolkit import PLACES, toolkit_at
from tests.support.toolkit_cache import cache_on


async def prove(number: int, seed: int) -> bool:
    clean = True
    for place in PLACES:
        with tempfile.TemporaryDirectory() as folder:
            kits = [toolkit_at(place, Path(folder), SystemClock()) for _ in range(2 if place.shared else 1)]
            began = time.monotonic()
            caches = [cache_on(kits[0]), cache_on(kits[-1])]
            verdict = await interleave(caches, number, seed, tags=not place.caches_only)
            for kit in kits:
                await kit.close()
        print(
            f"{place.name}: {verdict.interleavings:,} interleavings, {verdict.reads:,} reads, {verdict.computed:,} "
            f"computations, {len(verdict.old)} old values, {time.monotonic() - began:.0f} s",
            *verdict.old[:5],
            sep="\n  ",
            flush=True,
        )
        clean = clean and not verdict.old and verdict.interleavings == number
    return clean


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.exit(not asyncio.run(prove(given.number, given.seed)))


if __name__ == "__main__":
    main()
