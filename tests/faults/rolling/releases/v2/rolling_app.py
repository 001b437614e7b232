"""The second version: one kind has another name, two take other arguments."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from outlast import Outlast, Retention
from tests.support.ledger import Ledger

__all__ = ["app", "bill", "render", "send_receipt"]

app = Outlast("rolling")
app.queue("mail", retention=Retention(records=1_000_000))
app.queue("bills", retention=Retention(records=1_000_000))
app.queue("pages", retention=Retention(records=1_000_000))


def ledger() -> Ledger:
    return Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))


def in_seconds(args: dict[str, Any]) -> dict[str, Any]:
    return {"name": args["name"], "seconds": args["milliseconds"] / 1000}


def with_size(args: dict[str, Any]) -> dict[str, Any]:
    return {**args, "size": "A4"}


@app.job(queue="mail", aliases=("send_mail",))
async def send_receipt(name: str, seconds: float) -> None:
    ledger().write("start", name)
    await asyncio.sleep(seconds)
    ledger().write("v2", name)


@app.job(queue="bills", version=2, upgrades={1: in_seconds})
def bill(name: str, seconds: float) -> None:
    ledger().write("start", name)
    time.sleep(seconds)
    ledger().write("v2", name)


@app.job(queue="pages", isolate="process", version=2, upgrades={1: with_size})
def render(name: str, size: str) -> None:
    ledger().write("start", name)
    ledger().write("v2", name)
