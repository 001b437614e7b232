"""An app whose worker can be frozen, and whose jobs do what probes must not take for a fault."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from outlast import Breaker, Outlast
from outlast.worker.claimer import Claimer
from tests.support.ledger import Ledger
from tests.support.polling import until

__all__ = ["app", "brief", "burns", "holds", "one", "pays"]

app = Outlast("probed")
payments = app.guard("payments", breaker=Breaker(minimum=1, window=1, open_for=3600, ramp=0))
app.queue("mail")
app.queue("pay", needs=[payments])
app.queue("one", concurrency=1)


def ledger() -> Ledger:
    return Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))


@app.job(queue="mail")
async def brief(name: str) -> None:
    ledger().write("start", name)


@app.job(queue="mail", timeout=600)
async def holds(name: str) -> None:
    """Last until the test writes "open" into the ledger."""
    ledger().write("start", name)
    await until(lambda: ledger().read("open"), "the test lets it go on")


@app.job(queue="one", timeout=600)
async def one(name: str) -> None:
    """As `holds`, on a queue that runs one job at a time."""
    ledger().write("start", name)
    await until(lambda: ledger().read("open"), "the test lets it go on")


@app.job(queue="mail", timeout=600)
async def burns(name: str) -> None:
    """Use the CPU and the event loop until the test writes "open" into the ledger."""
    ledger().write("start", name)
    while not ledger().read("open"):
        sum(range(100_000))


@app.job(queue="pay")
async def pays(name: str) -> None:
    ledger().write("start", name)
    with suppress(ConnectionError):
        await payments.call(_refused)


async def _refused() -> None:
    raise ConnectionError("down")


_step = Claimer.step


async def _step_or_freeze(self: Claimer, *, wait: float) -> int:
    """Claim, until the test writes "freeze" into the ledger: then wait for ever, as a claimer with a fault could."""
    if ledger().read("freeze"):
        ledger().write("frozen", "claimer")
        await asyncio.Event().wait()
    return await _step(self, wait=wait)


if "OUTLAST_TEST_LEDGER" in os.environ:
    Claimer.step = _step_or_freeze  # type: ignore[method-assign]
