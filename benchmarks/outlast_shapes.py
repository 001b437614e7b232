"""Outlast with keys, priorities or limits, as BENCH_SHAPE says: what selection costs beside a plain queue."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from benchmarks import counter
from benchmarks.outlast_client import OutlastClient
from outlast import Outlast

__all__ = ["SHAPES", "client", "send", "shop"]

SHAPES: dict[str, int] = {
    "plain": 0,
    "ageing": 0,
    "keys-10": 10,
    "keys-100k": 100_000,
    "held-1k": 1000,
    "flood": 100_000,
}
"""How many keys the jobs of each shape have; job n has key n % keys."""

SHAPE = os.environ.get("BENCH_SHAPE", "plain")
KEYS = SHAPES[SHAPE]

shop = Outlast("bench")
if SHAPE == "held-1k":
    from outlast import Limit

    shop.queue("bench", per_key=Limit(concurrency=2))


def _key(user_id: int, email: str) -> str | None:
    return f"tenant {user_id % KEYS}" if KEYS else None


@shop.job(queue="bench", key=_key if KEYS else None)
async def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)


class ShapedClient(OutlastClient):
    """Enqueues in bulk, in levels where the shape has some; the rest is not measured here."""

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue a batch in one step."""
        levels: Any = ("high", "normal", "low") if SHAPE == "ageing" else ("normal",)
        jobs = [send.with_options(priority=level) for level in levels]
        return await shop.enqueue_many(jobs[user_id % len(jobs)].message(user_id, email) for user_id, email in batch)


def client() -> ShapedClient:
    """Return what enqueues."""
    return ShapedClient(shop, send)
