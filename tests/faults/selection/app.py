"""The app of `alone`: jobs that must never run two at a time, of a queue and of each key."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from outlast import Limit, Outlast
from tests.support.ledger import Ledger

__all__ = ["keyed", "shop", "single"]

shop = Outlast("alone")
shop.queue("single", concurrency=1)
shop.queue("keyed", per_key=Limit(concurrency=1))


async def _run(group: str) -> None:
    ledger = Ledger(Path(os.environ["ALONE_LEDGER"]))
    ledger.write("start", group)
    await asyncio.sleep(0.004)
    ledger.write("end", group)


@shop.job(queue="single")
async def single(nr: int) -> None:
    await _run("single")


@shop.job(queue="keyed", key="group")
async def keyed(nr: int, group: str) -> None:
    await _run(group)
