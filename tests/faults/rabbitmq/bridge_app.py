"""The app of the fault tests of the bridge: one queue bound to one exchange; what it does is in the ledger."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from outlast import Outlast, Retention
from outlast.core.events import JobEnqueued
from tests.support.ledger import Ledger

__all__ = ["app", "deal", "orders"]

app = Outlast("bridge-faults")
orders = app.exchange("orders")
app.queue("billing", retention=Retention(records=100_000))  # the judge counts the jobs of each event


@app.observe(JobEnqueued)
def moved(event: JobEnqueued) -> None:
    """Record which process moved an event into the store, by the id of the job."""
    ledger().write("moved", event.id)


def ledger() -> Ledger:
    return Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))


@app.job(queue="billing", on=orders.binding("order.#"))
async def deal(order: dict[str, Any]) -> None:
    """Record the start and the end of a run, by the name of its event."""
    ledger().write("start", order["name"])
    await asyncio.sleep(order["seconds"])
    ledger().write("end", order["name"])
