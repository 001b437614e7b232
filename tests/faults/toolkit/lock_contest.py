"""Let processes compete for a lock while they are stopped and killed and the store is restarted; judge the resource."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import msgspec

from tests.faults.toolkit.fenced_resource import FencedResource, Judgement, judged
from tests.faults.toolkit.lock_child import ChildSettings, LockCounts
from tests.support.servers.redis_server import RedisServer

__all__ = ["Contest", "Store", "Verdict", "restarted_server", "without_restart"]

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Verdict:
    """What came of a contest. after, late: see `LockCounts`, of the processes that lived to the end."""

    judgement: Judgement
    stops: int
    kills: int
    restarts: int
    lost: int
    after: int
    late: int
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether no promise was broken."""
        faults = self.stops + self.kills + self.restarts + self.lost
        return self.judgement.sound and self.after == 0 and self.judgement.overtaken <= faults


@dataclass(frozen=True)
class Store:
    """Where the locks are. restart: ends and begins it; None where no process serves it."""

    url: str
    restart: Callable[[], Awaitable[None]] | None = None


def restarted_server(server: RedisServer) -> Store:
    """Return the store of a server that is killed, and comes back with what it has on its disk."""

    async def restart() -> None:
        server.stop()
        await asyncio.to_thread(server.start)

    return Store(server.url, restart)


def without_restart(folder: Path) -> Store:
    """Return the store of a file."""
    return Store(f"sqlite:{folder}/toolkit.db")


@dataclass
class Contest:
    """processes x clients; every: seconds between two faults, in turn a stop, a kill and a restart."""

    folder: Path
    store: Store
    processes: int
    clients: int
    every: float
    lease: float = 1.0
    pause: float = 0.002
    chance: random.Random = field(default_factory=lambda: random.Random(2026))

    async def run(self, acquisitions: int, *, rounds: int) -> Verdict:
        """Return the verdict after so many faults, and at least so many acquisitions."""
        self._children = list[subprocess.Popen[str]]()
        stops = kills = restarts = 0
        async with FencedResource(self.folder / "resource") as resource:
            self._resource = resource
            try:
                await asyncio.gather(*(self._start() for _ in range(self.processes)))
                begun, done = time.monotonic(), 0
                while resource.taken < acquisitions or done < rounds:
                    await asyncio.sleep(self.every)
                    fault = done % 3 if done < rounds else None
                    done += 1
                    if fault == 0:
                        await self._stop()
                        stops += 1
                    elif fault == 1 and self.store.restart is not None:
                        await self.store.restart()
                        restarts += 1
                    elif fault == 2:
                        await self._kill()
                        kills += 1
                seconds = time.monotonic() - begun
                counts = [await asyncio.to_thread(_counts_of, each) for each in self._children]
            finally:
                for each in self._children:
                    _end(each)
            return Verdict(
                judged(resource.journal),
                stops,
                kills,
                restarts,
                sum(each.lost for each in counts),
                sum(each.after for each in counts),
                sum(each.late for each in counts),
                seconds,
            )

    async def _start(self) -> None:
        settings = self.folder / f"{uuid4().hex}.json"
        told = ChildSettings(self.store.url, str(self._resource.path), self.clients, self.lease, self.pause)
        settings.write_bytes(msgspec.json.encode(told))
        command = [sys.executable, "-m", "tests.faults.toolkit.lock_child", str(settings)]
        child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._children.append(child)
        assert child.stdout is not None
        assert await asyncio.to_thread(child.stdout.readline) == "ready\n"

    async def _stop(self) -> None:
        """Stop the process that has the lock, for less than its lease or for more, and let it go on."""
        stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def stop(pid: int) -> None:
            os.kill(pid, signal.SIGSTOP)
            stopped.set_result(pid)

        self._resource.on_take = stop
        pid = await stopped
        try:
            await asyncio.sleep(self.lease * self.chance.choice((0.5, 1.5, 2.0)))
        finally:
            os.kill(pid, signal.SIGCONT)

    async def _kill(self) -> None:
        child = self._children.pop(self.chance.randrange(len(self._children)))
        await asyncio.to_thread(_end, child)
        await self._start()


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def _counts_of(child: subprocess.Popen[str]) -> LockCounts:
    answer, _ = child.communicate(timeout=120)
    return msgspec.json.decode(answer, type=LockCounts)
