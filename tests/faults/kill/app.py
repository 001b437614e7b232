"""The app of the fault tests; every handler writes what it does into the ledger."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import time
from pathlib import Path

import psutil

from outlast import Constant, Outlast, Retry
from tests.support.ledger import Ledger
from tests.support.polling import until

__all__ = ["app", "blocks", "brief", "gated", "hogs", "holds_gil", "leaves_a_child", "poison", "threaded", "traced"]

app = Outlast("faults")
AGAIN = Retry(attempts=3, backoff=Constant(0))


def ledger() -> Ledger:
    return Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))


@app.job
async def brief(name: str, seconds: float) -> None:
    ledger().write("start", name)
    await asyncio.sleep(seconds)
    ledger().write("end", name)


@app.job
async def gated(name: str) -> None:
    """As `brief`, but it lasts until the test writes "open" into the ledger."""
    ledger().write("start", name)
    await until(lambda: ledger().read("open"), "the test lets it go on")
    ledger().write("end", name)


_told: set[int] = set()


@app.job
async def traced(name: str, seconds: float) -> None:
    """As `brief`; and each process says once, before its first start, who its parent and that one's parent are."""
    if os.getpid() not in _told:
        _told.add(os.getpid())
        above = os.getppid()
        ledger().write("above", f"{above},{psutil.Process(above).ppid()}")
    ledger().write("start", name)
    await asyncio.sleep(seconds)
    ledger().write("end", name)


@app.job
def threaded(name: str, seconds: float) -> None:
    ledger().write("start", name)
    time.sleep(seconds)
    ledger().write("end", name)


@app.job
async def blocks(name: str, seconds: float) -> None:
    ledger().write("start", name)
    time.sleep(seconds)
    ledger().write("end", name)


@app.job
async def holds_gil(name: str, seconds: float) -> None:
    ledger().write("start", name)
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))  # PyDLL keeps the GIL during the call
    ledger().write("end", name)


@app.job(timeout=0.5, retry=AGAIN)
async def hogs(name: str) -> None:
    ledger().write("start", name)
    while True:
        time.sleep(1)


@app.job
async def poison(name: str) -> None:
    ledger().write("start", name)
    os._exit(9)


@app.job
def leaves_a_child(name: str) -> None:
    """Start a program that leaves a child behind, as `sh -c "x &"`, a browser or a converter does."""
    out = subprocess.run(["sh", "-c", "sleep 0.1 >/dev/null & echo $!"], stdout=subprocess.PIPE, check=True).stdout
    ledger().write("left", int(out))
