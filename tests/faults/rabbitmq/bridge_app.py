"""The app of the fault tests of the bridge: one queue bound to one exchange; the handler writes into the ledger."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from outlast import Outlast, Retention
from tests.support.ledger import Ledger

__all__ = ["app", "deal", "orders"]

app = Outlast("bridge-faults")
orders = app.exchange("orders")
app.queue("billing", retention=Retention(records=100_000))  # the judge counts the jobs of each event


@app.job(queue="billing", on=orders.binding("order.#"))
async def deal(order: dict[str, Any]) -> None:
    """Record the start and the end of a run, by the name of its event."""
    ledger = Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))
    ledger.write("start", order["name"])
    await asyncio.sleep(order["seconds"])
    ledger.write("end", order["name"])
