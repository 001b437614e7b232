"""The first version of the app of the rolling deploys."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from outlast import Outlast, Retention
from tests.support.ledger import Ledger

__all__ = ["app", "bill", "render", "send_mail"]

app = Outlast("rolling")
app.queue("mail", retention=Retention(records=1_000_000))
app.queue("bills", retention=Retention(records=1_000_000))
app.queue("pages", retention=Retention(records=1_000_000))


def ledger() -> Ledger:
    return Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))


@app.job(queue="mail")
async def send_mail(name: str, seconds: float) -> None:
    ledger().write("start", name)
    await asyncio.sleep(seconds)
    ledger().write("v1", name)


@app.job(queue="bills")
def bill(name: str, milliseconds: int) -> None:
    ledger().write("start", name)
    time.sleep(milliseconds / 1000)
    ledger().write("v1", name)


@app.job(queue="pages", isolate="process")
def render(name: str) -> None:
    ledger().write("start", name)
    ledger().write("v1", name)
