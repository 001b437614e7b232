"""Misses of one key by several processes at once, and a server that is killed under readers of a cache."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

from outlast.aio.clock import SystemClock
from outlast.core.errors import BulkheadFull
from outlast.toolkit.access import Toolkit
from tests.support.toolkit_cache import cache_on

__all__ = ["Killable", "Outage", "miss_together", "read_through_outage"]

CONCURRENCY = 8
TIMEOUT = 0.3
"""Seconds that a call waits for the store."""
MAX_WAIT = 0.5
"""Seconds that a reader waits for its turn at the source."""
TAKES = 0.02
"""Seconds of one computation."""


async def miss_together(
    url: str, folder: Path, *, processes: int, callers: int, tags: Sequence[str] = ("t",)
) -> tuple[int, int]:
    """Let each process read one key so often at once; return (computations, right values)."""
    log = folder / "computed"
    log.touch()
    children = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.toolkit.stampede_child", url, str(callers), str(log), *tags),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(processes)
    ]
    for each in children:
        assert each.stdout is not None
        assert await each.stdout.readline() == b"ready\n"
    outs = await asyncio.gather(*(each.communicate(b"go\n") for each in children))
    return len(log.read_text().splitlines()), sum(int(out) for out, _ in outs)


class Killable(Protocol):
    """A server that a test kills and starts again."""

    @property
    def url(self) -> str:
        """Where it is."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Kill it."""


@dataclass
class Outage:
    """What readers saw while the server was away. at_once: the most computations that began then and ran together."""

    answers: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    at_once: int = 0
    seconds: list[float] = field(default_factory=list)
    back: bool = False

    @property
    def slowest(self) -> float:
        """The 99.9th percentile of the times that answers and refusals took."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.999)]


class _Readers:
    def __init__(self, server: Killable, readers: int, seen: Outage) -> None:
        self.server = server
        self.readers = readers
        self.seen = seen
        self.kit = Toolkit(server.url, clock=SystemClock(), timeout=TIMEOUT)
        self.cache = cache_on(self.kit)
        self.cache.configure(concurrency=CONCURRENCY, max_wait=MAX_WAIT, max_waiting=readers)
        self.down = False
        self.computing = 0
        self.stopping = False

    def source(self, number: int) -> Callable[[], Awaitable[int]]:
        async def compute() -> int:
            counted = self.down
            self.computing += counted
            self.seen.at_once = max(self.seen.at_once, self.computing)
            await asyncio.sleep(TAKES)  # the work of the source
            self.computing -= counted
            return number

        return compute

    async def read(self, rng: Random) -> None:
        while not self.stopping:
            number, counted, began = rng.randrange(200), self.down, time.monotonic()
            try:
                found = await self.cache.get_or_set(f"k{number}", self.source(number), ttl=0.05)
                if found != number:
                    self.seen.wrong.append(f"{found} for {number}")
                self.seen.answers += counted
            except BulkheadFull:
                self.seen.refused += counted
            if counted:
                self.seen.seconds.append(time.monotonic() - began)
            await asyncio.sleep(0)

    async def until(self, look: Callable[[], Awaitable[bool]], within: float) -> bool:
        end = time.monotonic() + within
        while not (found := await look()) and time.monotonic() < end:
            await asyncio.sleep(0.01)
        return found

    async def is_away(self) -> bool:
        return self.kit.is_away

    async def is_kept(self) -> bool:
        return bool(await self.cache.set("back", 1, ttl=60)) and await self.cache.get("back") == 1


async def read_through_outage(server: Killable, *, readers: int, answers: int) -> Outage:
    """Read by so many readers, kill the server until there are this many answers without it, and start it again."""
    seen = Outage()
    scene = _Readers(server, readers, seen)
    tasks = [asyncio.create_task(scene.read(Random(number))) for number in range(readers)]
    await scene.until(scene.is_kept, 30)
    server.stop()
    assert await scene.until(scene.is_away, 30)
    scene.down = True

    async def enough() -> bool:
        return seen.answers >= answers

    await scene.until(enough, 120)
    scene.down = False
    server.start()
    seen.back = await scene.until(scene.is_kept, 5)
    scene.stopping = True
    await asyncio.gather(*tasks)
    await scene.kit.close()
    return seen
