"""A flood of one tenant beside ten jobs of another: `python -m tests.faults.proofs.tenants --flood 1000000`.

The claims are a worker's: as many as it has slots, settled before the next. Judged: how many claims go by from the
moment the second tenant's jobs are accepted until the last of them is handed out, and how long that takes.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from msgspec import Raw

from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from outlast.core.message import Holder, Message
from outlast.core.settlement import Finish
from tests.support.origin import origin

__all__ = ["Verdict", "tenants"]


@dataclass(frozen=True)
class Verdict:
    """turns: rounds of the ring until the last of B's jobs; claims: the same in claims; seconds: from acceptance."""

    flood: int
    turns: int
    claims: int
    seconds: float


async def tenants(path: str, *, flood: int, few: int = 10, slots: int = 100) -> Verdict:
    """Run it on the file at `path`."""
    store = SqliteStore(path, clock=SystemClock())
    await store.open()
    holder = Holder("t" * 32, "tenants")
    now = time.time()

    def made(key: str, first: int, count: int) -> list[Message]:
        return [
            Message(id=f"q.{key}{n}", queue="q", kind="k", args=Raw(b"{}"), enqueued_at=now, run_at=now, key=key)
            for n in range(first, first + count)
        ]

    async def serve() -> list[str]:
        given = await store.claim({"q": slots}, limit=slots, holder=holder, lease=60.0, wait=0.0)
        await store.settle([Finish(each.fence, "succeeded") for each in given])
        return [each.message.key or "" for each in given]

    for first in range(0, flood, 5000):
        await store.publish(made("a", first, min(5000, flood - first)))
    await serve()
    await store.publish(made("b", 0, few))
    begun = time.monotonic()
    order: list[str] = []
    claims = 0
    while order.count("b") < few:
        order += await serve()
        claims += 1
    seconds = time.monotonic() - begun
    last = len(order) - order[::-1].index("b")
    await store.close()
    return Verdict(flood, max(order[:last].count("a"), few), claims, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flood", type=int, default=1_000_000)
    chosen = parser.parse_args()
    print(origin(), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        verdict = asyncio.run(tenants(str(Path(scratch) / "jobs.db"), flood=chosen.flood))
    print(verdict)
    raise SystemExit(0 if verdict.claims <= 2 else 1)
