"""Objects in the memory of one process: for tests."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Final

from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError
from outlast.core.toolkit_errors import ObjectDamaged, ObjectNotFound
from outlast.toolkit.objects.place import Listed, ObjectPlace, Source

__all__ = ["ObjectMemory"]


class ObjectMemory(ObjectPlace):
    """The objects of one app, for all event loops and threads of the process."""

    shown = "memory:"
    in_process = True

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._objects: dict[str, tuple[bytes, float]] = {}

    async def put(self, key: str, source: Source, content_type: str) -> None:
        """Keep the bytes."""
        data = source if isinstance(source, bytes) else b"".join([part async for part in source])
        with self._lock:
            self._objects[key] = data, self._clock.time()

    async def get(self, key: str, most: int | None = None) -> bytes:
        """Return the bytes."""
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            raise ObjectNotFound(key)
        if most is not None and len(found[0]) > most:
            raise ObjectDamaged(key, f"it has {len(found[0])} bytes, more than the {most} that were put")
        return found[0]

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield the bytes."""
        yield await self.get(key)

    async def delete(self, key: str) -> None:
        """Delete the object."""
        with self._lock:
            self._objects.pop(key, None)

    async def look(self, key: str) -> Listed | None:
        """Return what is there."""
        with self._lock:
            found = self._objects.get(key)
        return None if found is None else Listed(key, len(found[0]), found[1])

    async def pages(self, prefix: str) -> AsyncIterator[list[Listed]]:
        """Yield one page."""
        with self._lock:
            found = [Listed(key, len(data), at) for key, (data, at) in self._objects.items() if key.startswith(prefix)]
        yield found

    async def url(self, key: str, seconds: float) -> str:
        """Raise: only this process can read its memory."""
        raise ConfigurationError("objects_url='memory:' makes no links: replace shop.objects.url in this test")
