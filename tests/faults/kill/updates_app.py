"""The app of the test of updates: a document is indexed anew whenever it was saved; the ledger gets each text."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from outlast import Constant, Context, Outlast, Retry
from tests.support.ledger import Ledger

__all__ = ["app", "index"]

app = Outlast("faults")


def ledger() -> Ledger:
    return Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))


@app.job(unique="index:{document}", on_conflict="replace", retry=Retry(attempts=9, backoff=Constant(0.05)))
async def index(ctx: Context, document: int, text: int) -> None:
    ledger().write("start", f"{document}:{text}")
    await asyncio.sleep(0.03)
    if text % 7 == 3 and ctx.attempt == 1:
        ledger().write("fail", f"{document}:{text}")
        raise ConnectionError("the search engine is away")
    ledger().write("done", f"{document}:{text}")
