"""Locks on the toolkit of a test, and a look at what they keep in each store."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from outlast.clients.redis.client import RedisClient
from outlast.toolkit.access import Toolkit
from outlast.toolkit.file import FileSession, ToolkitFile
from outlast.toolkit.lock.forms import lock_store
from outlast.toolkit.lock.lock import Lock
from outlast.toolkit.lock.memory import MemoryLocks
from outlast.toolkit.lock.store import Ask, Holding, Turn
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.store import ToolkitStore

__all__ = ["asked", "empty", "keys_of", "left", "lock_of", "places", "waits_of"]


def lock_of(kit: Toolkit, name: str = "stock:7", **options: Any) -> Lock:
    """Return a lock of a toolkit, as an app makes it."""
    return Lock(lambda: kit, name, **options)


async def asked(kit: Toolkit, holder: str, key: str = "lock:stock:7", **options: Any) -> Turn:
    """Ask as another process would that then does nothing more."""
    ask = Ask(**{"key": key, "holder": holder, "slots": 1, "lease": 10.0, "join": True, "seen": 0, **options})
    return await kit.use(lambda store: lock_store(store).ask(ask))


async def left(kit: Toolkit, holder: str, key: str = "lock:stock:7") -> None:
    """Leave as that process would."""
    await kit.use(lambda store: lock_store(store).leave(Holding(key, holder)))


async def places(kit: Toolkit) -> int:
    """Return how many turns, and places of waiters, the store keeps."""
    return await kit.use(lambda store: store.choose(_in_memory, _in_file, _on_server))


async def _in_memory(memory: ToolkitMemory) -> int:
    kept = MemoryLocks(memory).keys.by_name.values()
    return sum(len(key.holders) + len(key.line) for key in kept)


async def _in_file(file: ToolkitFile) -> int:
    return int((await file.read("select count(*) from lock_places"))[0][0])


async def _on_server(server: ToolkitServer) -> int:
    count = 0
    for key in await keys_of(server):
        kind = key.split("}:")[1].partition(":")[0]
        if kind in ("h", "w"):
            count += int(await server.client.command({"h": "HLEN", "w": "ZCARD"}[kind], key))
    return count


async def keys_of(server: ToolkitServer) -> list[str]:
    """Return the keys of locks that the server keeps, on all nodes: as its administrator, who may list keys."""
    names: list[str] = []
    admin = RedisClient(structs.replace(server.client.address, user="", password=""))
    await admin.open()
    for tag in range(16):
        key = server.key("lock", str(tag), "fence")
        cursor = "0"
        while True:
            pattern = f"{key.removesuffix('fence').replace('{', '[{]').replace('}', '[}]')}*"
            cursor, found = await admin.command("SCAN", cursor, "MATCH", pattern, "COUNT", 1000, key=key)
            names += [each.decode() for each in found]
            cursor = cursor.decode()
            if cursor == "0":
                break
    await admin.close()
    return names


async def waits_of(kit: Toolkit, number: int) -> bool:
    """Return whether so many places are kept: for tests that begin when others wait."""
    return await places(kit) == number


async def empty(kit: Toolkit) -> None:
    """Remove all that the store knows of locks, as FLUSHALL and an emptied file do."""
    await kit.use(_emptied)


async def _emptied(store: ToolkitStore) -> None:
    await store.choose(_emptied_memory, _emptied_file, _emptied_server)


async def _emptied_memory(memory: ToolkitMemory) -> None:
    keys = MemoryLocks(memory).keys
    keys.by_name.clear()
    keys.last = 0


async def _emptied_file(file: ToolkitFile) -> None:
    def run(session: FileSession) -> None:
        session.run("delete from lock_places")
        session.run("update lock_fence set last = 0")

    await file.write(run, synced=False)


async def _emptied_server(server: ToolkitServer) -> None:
    for key in await keys_of(server):
        await server.client.command("DEL", key)
