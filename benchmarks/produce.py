"""The producer that every system shares: `python -m benchmarks.produce MODULE MODE ...`, in that system's environment.

Standard library only; on uvloop where that is there, as under uvicorn. MODULE has `client() -> Client`. Prints one
line, RESULT and the figures as JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.counter import Board

__all__ = ["Client", "percentiles", "rows"]

Row = tuple[int, str]


class Client(Protocol):
    """One system's ways to enqueue. A blocking system blocks in `one` and `many`, and uses its threads in `among`."""

    async def open(self) -> None:
        """Connect; not timed."""
        ...

    async def close(self) -> None:
        """Let go of everything; not timed."""
        ...

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job and return when it is accepted, called one at a time."""
        ...

    async def among(self, user_id: int, email: str) -> object:
        """Enqueue one job, called from many coroutines at once."""
        ...

    async def many(self, batch: Sequence[Row]) -> object:
        """Enqueue a batch by the system's own bulk call."""
        ...


def rows(first: int, jobs: int) -> Iterator[Row]:
    """Yield the arguments of `jobs` jobs."""
    return ((i, f"user{i}@example.com") for i in range(first, first + jobs))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the maximum, in milliseconds."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    at = {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * q))]
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return {name: round(value * 1000, 3) for name, value in {**at, "max": ordered[-1]}.items()}


class Start:
    """When a measurement began, by the clock and by this process's CPU."""

    def __init__(self) -> None:
        self.clock, self.cpu = time.perf_counter(), time.process_time()

    def figures(self, jobs: int) -> dict[str, Any]:
        """Return the seconds since then, and this process's CPU seconds per 1,000 jobs."""
        cpu = (time.process_time() - self.cpu) / max(1, jobs) * 1000
        return {"jobs": jobs, "seconds": time.perf_counter() - self.clock, "cpu": cpu}


async def single(client: Client, jobs: int, first: int) -> dict[str, Any]:
    """One call at a time, each awaited."""
    work = list(rows(first, jobs))
    start = Start()
    for user_id, email in work:
        await client.one(user_id, email)
    return start.figures(jobs)


async def bulk(client: Client, jobs: int, batch: int, first: int) -> dict[str, Any]:
    """The system's bulk call, `batch` jobs at a time."""
    work = list(rows(first, jobs))
    start = Start()
    for i in range(0, jobs, batch):
        await client.many(work[i : i + batch])
    return start.figures(jobs)


async def gather(client: Client, jobs: int, coroutines: int) -> dict[str, Any]:
    """So many coroutines at once, each enqueues one job after the other."""
    work = rows(0, jobs)

    async def enqueue() -> None:
        for user_id, email in work:
            await client.among(user_id, email)

    start = Start()
    await asyncio.gather(*(enqueue() for _ in range(coroutines)))
    return start.figures(jobs)


async def paced(client: Client, jobs: int, rate: int, first: int) -> dict[str, Any]:
    """`rate` jobs a second, one at a time; how long each call took, and when each was sent (on the board)."""
    board = Board(Path(os.environ["BENCH_COUNTER"]))
    calls: list[float] = []
    start = time.monotonic() + 0.2
    for n, (user_id, email) in enumerate(rows(first, jobs)):
        if (ahead := start + n / rate - time.monotonic()) > 0:
            await asyncio.sleep(ahead)
        board.sent(user_id)
        began = time.perf_counter()
        await client.one(user_id, email)
        calls.append(time.perf_counter() - began)
    return {"jobs": jobs, "behind": round(time.monotonic() - start - jobs / rate, 3), "call": percentiles(calls)}


MODES: dict[str, Callable[..., Any]] = {"single": single, "bulk": bulk, "gather": gather, "paced": paced}


async def main(module: str, mode: str, *numbers: str) -> None:
    """Run one mode against the module's client and print its figures."""
    client: Client = importlib.import_module(module).client()
    await client.open()
    try:
        figures = await MODES[mode](client, *map(int, numbers))
    finally:
        await client.close()
    print("RESULT " + json.dumps(figures), flush=True)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main(*sys.argv[1:]))
    else:
        uvloop.run(main(*sys.argv[1:]))
