"""One process that calls a dependency behind a shared guard: `python -m tests.faults.guards.child SETTINGS`.

It prints "ready", and an answer to each line that it reads: "call N" lets N callers call for ever, "stop" ends them,
each after the call that it makes, and waits for them; "fail", "work" and "hang" change what the dependency does;
"counts" tells what came of the calls; "state" tells what the guard says.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from outlast import Breaker
from outlast.aio.clock import SystemClock
from outlast.aio.portal import portal
from outlast.brokers.registry import connect
from outlast.core.errors import GuardOpen
from outlast.core.policy import DEFAULTS
from outlast.core.store.store import Store
from outlast.resilience import guard, link
from outlast.resilience.guard import Guard
from outlast.resilience.link import GuardLink

__all__ = ["Counts", "Settings", "Shown", "opened_store"]

PAUSE = 0.005
"""The shortest seconds between two calls of one caller."""


class Settings(Struct, frozen=True):
    """What one process does. ledger: a file of all processes, a line for each call: pid, begin and end (monotonic)."""

    url: str
    ledger: str
    name: str = "payments"
    interval: float = 0.02
    lease: float = 10.0
    minimum: int = 5
    ramp: float = 0.0
    does: str = "fail"


class Counts(Struct, frozen=True):
    """What came of the calls."""

    made: int = 0
    failed: int = 0
    refused: int = 0


class Shown(Struct, frozen=True):
    """What the guard says."""

    state: str
    why: str
    held: str


async def opened_store(url: str) -> Store:
    """Return the open store of a URL."""
    store = connect(url, clock=SystemClock(), max_body=DEFAULTS.max_body)
    await store.broker.open()
    return store


class Process:
    """The guard, its dependency and its callers."""

    def __init__(self, settings: Settings) -> None:
        # A busy machine may need longer than a second for the first read.
        vars(link)["FIRST_READ"] = vars(guard)["FIRST_READ"] = 60.0
        self.does = settings.does
        self.counts = [0, 0, 0]
        self.stopped = False
        # Open before the first call, which waits a second for it: on a busy machine an open may take longer.
        self.store = portal().submit(lambda: opened_store(settings.url)).result()
        self.link = GuardLink(self.connect)
        breaker = Breaker(
            open_for=settings.interval, probe_lease=settings.lease, minimum=settings.minimum, ramp=settings.ramp
        )
        self.guard = Guard(settings.name, breaker=breaker, sharing=lambda: self.link)
        self.ledger = os.open(settings.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.callers: set[asyncio.Task[None]] = set()

    async def connect(self) -> Store:
        return self.store

    def write(self, begin: float, end: float) -> None:
        os.write(self.ledger, f"{os.getpid()} {begin!r} {end!r}\n".encode())

    async def dependency(self) -> None:
        begin = time.monotonic()
        if self.does == "hang":
            self.write(begin, float("inf"))
            await asyncio.Event().wait()
        await asyncio.sleep(0.001)
        self.write(begin, time.monotonic())
        if self.does == "fail":
            raise ConnectionError("down")

    async def call(self) -> None:
        while not self.stopped:
            pause = PAUSE
            try:
                await self.guard.call(self.dependency)
                self.counts[0] += 1
            except ConnectionError:
                self.counts[1] += 1
            except GuardOpen as refused:
                self.counts[2] += 1
                pause = max(PAUSE, min(refused.retry_after, 0.1))
            await asyncio.sleep(pause)

    async def obey(self, words: list[str]) -> bytes:
        match words:
            case ["call", number]:
                self.callers |= {asyncio.create_task(self.call()) for _ in range(int(number))}
            case ["fail" | "work" | "hang" as does]:
                self.does = does
            case ["stop"]:
                self.stopped = True
                await asyncio.gather(*self.callers)
            case ["counts"]:
                return msgspec.json.encode(Counts(*self.counts))
            case ["state"]:
                view = self.guard.view()
                return msgspec.json.encode(Shown(view.state, view.why, view.held))
        return b"done"

    async def run(self) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        print("ready", flush=True)
        while line := await reader.readline():
            print((await self.obey(line.decode().split())).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(Process(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Settings)).run())
