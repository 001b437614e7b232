"""Outlast at its defaults: one job on one queue, and its producer."""

from __future__ import annotations

import asyncio
import os

from benchmarks import counter
from benchmarks.outlast_client import OutlastClient
from outlast import Outlast

__all__ = ["client", "send", "shop"]

shop = Outlast("bench")
if "BENCH_NEEDS" in os.environ:
    shop.queue("bench", needs=[shop.guard("dependency", breaker=True)])


@shop.job(queue="bench")
async def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        await asyncio.sleep(counter.NAP)


def client() -> OutlastClient:
    """Return what enqueues."""
    return OutlastClient(shop, send)
