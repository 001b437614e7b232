"""One process whose clients compete for a lock: `python -m tests.faults.toolkit.lock_child SETTINGS`, until stdin ends.

Each client takes the lock, reads the value of the resource and writes the next one, with its token. Half of them are
tasks, half are threads, which nothing cancels: these write what they must not when their process was stopped. It prints
counts at its end.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from msgspec import Struct

from outlast import LockLost, Outlast
from outlast import Settings as AppSettings
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.lock.lease import LockLease

__all__ = ["ChildSettings", "LockCounts"]


class ChildSettings(Struct, frozen=True):
    """url: of the toolkit. resource: path of its socket. lease: seconds. pause: the longest in a body, in seconds."""

    url: str
    resource: str
    clients: int
    lease: float
    pause: float


class LockCounts(Struct):
    """lost: leases that ended in a body. after: calls of a body after its LockLost was raised. late: those that began
    when its lease had ended.
    """

    acquired: int = 0
    lost: int = 0
    after: int = 0
    late: int = 0


class _Client:
    def __init__(self, shop: Outlast, settings: ChildSettings, counts: LockCounts) -> None:
        self._lock = shop.lock("stock", lease=settings.lease, wait=5)
        self._settings = settings
        self._counts = counts
        self._raised: set[int] = set()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def run(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(self._settings.resource)
        while True:
            lease: LockLease | None = None
            try:
                async with self._lock as lease:
                    self._counts.acquired += 1
                    await self._body(lease)
            except LockLost as error:
                self._counts.lost += "fenced write" not in error.why
                self._raised.add(error.token)
                self._writer.close()  # an answer may still be under way on it
                self._reader, self._writer = await asyncio.open_unix_connection(self._settings.resource)
            except (ToolkitAway, TimeoutError):
                continue

    async def _body(self, lease: LockLease) -> None:
        value = await self._call("take", lease, 0)
        if value < 0:
            lease.confirm(0)
        await asyncio.sleep(random.random() * self._settings.pause)
        if await self._call("write", lease, value) < 0:
            lease.confirm(0)

    async def _call(self, op: str, lease: LockLease, value: int) -> int:
        self._counts.after += lease.token in self._raised
        self._counts.late += lease.lost
        self._writer.write(f"{op} {lease.token} {value} {os.getpid()}\n".encode())
        return int(await self._reader.readline())


class _BlockingClient:
    """A client in a thread, which does not ask whether its lock was lost."""

    def __init__(self, shop: Outlast, settings: ChildSettings, counts: LockCounts) -> None:
        self._lock = shop.lock("stock", lease=settings.lease, wait=5)
        self._settings = settings
        self._counts = counts
        self.ends = False

    def run(self) -> None:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(self._settings.resource)
            while not self.ends:
                self._once(link)

    def _once(self, link: socket.socket) -> None:
        try:
            with self._lock as lease:
                self._counts.acquired += 1
                value = self._call(link, "take", lease, 0)
                if value >= 0:
                    self._call(link, "write", lease, value)
        except LockLost:
            self._counts.lost += 1
        except (ToolkitAway, TimeoutError):
            pass

    def _call(self, link: socket.socket, op: str, lease: LockLease, value: int) -> int:
        self._counts.late += lease.lost
        link.sendall(f"{op} {lease.token} {value} {os.getpid()}\n".encode())
        return int(link.recv(64))


async def _main(settings: ChildSettings) -> None:
    shop, counts = Outlast("shop", settings=AppSettings(url="memory:", toolkit_url=settings.url)), LockCounts()
    tasks = settings.clients // 2
    clients = [asyncio.create_task(_Client(shop, settings, counts).run()) for _ in range(tasks)]
    blocking = [_BlockingClient(shop, settings, counts) for _ in range(settings.clients - tasks)]
    threads = ThreadPoolExecutor(len(blocking))
    loop = asyncio.get_running_loop()
    in_threads = [loop.run_in_executor(threads, each.run) for each in blocking]
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    print("ready", flush=True)
    done, _ = await asyncio.wait([ended, *clients, *in_threads], return_when=asyncio.FIRST_COMPLETED)
    for each in clients:
        each.cancel()
    for client in blocking:
        client.ends = True
    await asyncio.gather(*clients, *in_threads, return_exceptions=True)
    for found in done - {ended}:
        found.result()
    print(msgspec.json.encode(counts).decode(), flush=True)
    await shop.close()


if __name__ == "__main__":
    asyncio.run(_main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=ChildSettings)))
