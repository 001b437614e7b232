"""The app of real workers whose payments depend on something that can be down: while a file named `down` exists."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from outlast import Breaker, Context, Outlast, Retry
from outlast.core.backoff import Constant
from tests.support.ledger import Ledger

__all__ = ["charge", "mail", "payments", "shop"]

folder = Path(os.environ.get("OUTAGE_FOLDER", "."))
ledger = Ledger(folder / "ledger")
waits = Ledger(folder / "waits")


def _seconds(name: str, default: float) -> float:
    return float(os.environ.get(f"OUTAGE_{name}", default))


shop = Outlast("outage")
payments = shop.guard(
    "payments",
    breaker=Breaker(
        window=20,
        minimum=5,
        open_for=_seconds("INTERVAL", 5),
        probe_lease=_seconds("LEASE", 10),
        ramp=_seconds("RAMP", 10),
    ),
)
shop.queue("charges", needs=[payments])
shop.queue("mails")


async def pay(number: int) -> None:
    """The dependency."""
    down = (folder / "down").exists()
    ledger.write("call", number)
    await asyncio.sleep(_seconds("CALL", 0.01))
    if down:
        ledger.write("failed", number)
        raise ConnectionError("the dependency is down")


@shop.job(queue="charges", retry=Retry(attempts=50, backoff=Constant(0.1)))
async def charge(number: int) -> None:
    """Call the dependency."""
    ledger.write("run", number)
    await payments.call(pay, number)
    ledger.write("paid", number)


@shop.job(queue="mails")
async def mail(ctx: Context, number: int, due: float) -> None:
    """Need nothing. due: wall time."""
    ledger.write("mailed", number)
    waits.write(f"{time.time() - due:.6f}", number)
