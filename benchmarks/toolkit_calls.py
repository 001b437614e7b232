"""One turn of one library of the toolkit's benchmark: `python -m benchmarks.toolkit_calls MODULE URL FOLDER SECONDS`.

Prints the microseconds of each of its calls, one at a time and 32 at a time on one asyncio loop: of the clock, and of
the processor in this process. With CALLS as a fifth word it makes so many calls that miss one key, all at once, when a
line comes on its input. Each module of a library has `cases`.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import itertools
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["ALONE", "CLIENTS", "STAMPEDE", "TOGETHER", "Call", "Cases", "Place", "kept_key", "product_of"]

Call = Callable[[int], Awaitable[object]]
"""One call, with a number that no earlier call had."""
Cases = Mapping[str, Call]
TOGETHER = 32
STAMPEDE = "stampede"
ALONE = frozenset(("near hit", "memory hit", "file hit"))
"""What waits for nothing: more at a time would be the same."""
SOURCE = 0.05
"""Seconds that the source takes which all ask for in a stampede."""
KEYS = 64
"""Keys that are read in turn where values are kept: calls at the same time are of different keys."""
CLIENTS = 256
"""Clients with a session, which send requests in turn."""


@dataclass(frozen=True)
class Place:
    """Where a library keeps its data: a Redis server that is empty at the beginning of each turn, and a folder."""

    url: str
    folder: Path

    async def slow_product(self, number: int) -> dict[str, object]:
        """Be the source of a stampede: count the call and take a while."""
        file = os.open(self.folder / "computed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, b".")
        os.close(file)
        await asyncio.sleep(SOURCE)
        return product_of(number)


def product_of(number: int) -> dict[str, object]:
    """Be the source of a miss."""
    return {"id": number, "name": "cup", "price": 450, "colours": ["blue", "white"]}


def server_cpu(url: str) -> float:
    """Return the seconds of the processor that the server at a URL has used, those of other programs not counted."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 6379), timeout=10) as link:
        link.sendall(b"INFO CPU\r\nQUIT\r\n")
        said = b"".join(iter(lambda: link.recv(65536), b"")).decode()
    named = dict(line.split(":", 1) for line in said.splitlines() if line.startswith("used_cpu_"))
    return float(named["used_cpu_user"]) + float(named["used_cpu_sys"])


async def _time(
    call: Call, seconds: float, together: int, numbers: itertools.count[int], *, some: int, url: str
) -> tuple[float, float, float]:
    """Return the microseconds of a call when `together` tasks make calls: by the clock, of this process, of the server.

    some: the calls between two looks at the clock.
    """
    calls = 0

    async def work(end: float) -> None:
        nonlocal calls
        while time.perf_counter() < end:
            for number in itertools.islice(numbers, some):
                await call(number)
            calls += some

    gc.collect()
    server = server_cpu(url)
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work(began + seconds) for _ in range(together)))
    taken, used = time.perf_counter() - began, time.process_time() - cpu
    return taken / calls * 1e6, used / calls * 1e6, (server_cpu(url) - server) / calls * 1e6


async def _warm(call: Call, seconds: float, numbers: itertools.count[int]) -> None:
    """Make what the first calls make: connections, and the values of all keys."""
    end = time.perf_counter() + max(seconds, 0.1)
    for made in range(TOGETHER + KEYS):
        await call(next(numbers))
        if time.perf_counter() > end and made:
            return


def kept_key(number: int) -> int:
    """Return one of the keys of values that are kept."""
    return -1 - number % KEYS


async def measured(cases: Cases, seconds: float, url: str) -> dict[str, float]:
    """Return the microseconds of all cases."""
    found: dict[str, float] = {}
    numbers = itertools.count(1)
    for name, call in cases.items():
        if name == STAMPEDE:
            continue
        for together in (1,) if name in ALONE else (1, TOGETHER):
            await _warm(call, seconds, numbers)
            key, some = f"{name}, {together}", KEYS if name in ALONE else 1
            figures = await _time(call, seconds, together, numbers, some=some, url=url)
            found[key], found[f"{key}, cpu"], found[f"{key}, server"] = figures
    return found


async def _stampede(call: Call, calls: int) -> dict[str, float]:
    await asyncio.gather(*(call(0) for _ in range(calls)))  # connects: what waits for a connection would miss nothing
    print("READY", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began = time.perf_counter()
    found = await asyncio.gather(*(call(1) for _ in range(calls)), return_exceptions=True)
    return {"seconds": time.perf_counter() - began, "failed": sum(isinstance(each, BaseException) for each in found)}


async def _turn(module: str, place: Place, seconds: float, calls: int) -> dict[str, float]:
    library: Callable[[Place], AbstractAsyncContextManager[Cases]] = importlib.import_module(module).cases
    async with library(place) as cases:
        return await _stampede(cases[STAMPEDE], calls) if calls else await measured(cases, seconds, place.url)


def main(module: str, url: str, folder: str, seconds: str, calls: str = "0") -> None:
    """Measure and print."""
    figures = asyncio.run(_turn(module, Place(url, Path(folder)), float(seconds), int(calls)))
    print("RESULT", json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
