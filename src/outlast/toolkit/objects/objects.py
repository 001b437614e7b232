"""`shop.objects`: large bytes by key, in a folder, on S3 or on Google Cloud Storage."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final

from outlast.aio.portal import portal
from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.text import shown
from outlast.core.toolkit_errors import ObjectDamaged
from outlast.toolkit.objects.keys import object_key
from outlast.toolkit.objects.link import ObjectLink
from outlast.toolkit.objects.place import Source, StoredObject

__all__ = ["Objects", "digest_of"]

PART: Final = 1024 * 1024
"""Bytes of a file that are read at once."""
LONGEST_LINK: Final = 7 * 86400.0
"""Seconds that a link may last: both S3 and Google Cloud Storage sign none for longer (signature version 4)."""
_IN_LOOP: Final = 256 * 1024
"""Bytes that are hashed on the event loop; more would delay its other tasks by over a millisecond."""

Data = bytes | bytearray | memoryview | Path | BinaryIO | AsyncIterable[bytes]


class Objects:
    """Objects by key: bytes of any size, kept until they are deleted.

    Calls raise InvalidArguments for a key that not every place can hold, ConfigurationError for settings that lead to
    none, ToolkitAway while the place does not answer within `objects_timeout`; a put that raised it may have been done.
    A put replaces the object of its key, in full or not at all; of two at once the later wins.
    """

    def __init__(self, link: Callable[[], ObjectLink]) -> None:
        self._link = link

    async def put(self, key: str, data: Data, *, content_type: str = "") -> StoredObject:
        """Keep bytes, the bytes of a file (a Path, or one that is open for reading bytes), or those of an iterator.

        Return what was stored: key, size, SHA-256. content_type: what links tell a browser; a folder does not keep it.
        A file and an iterator are read part by part, within `objects_timeout` in all. What they raise comes through,
        and nothing is stored then.
        """
        key = object_key(key)
        if isinstance(data, bytes | bytearray | memoryview):
            whole = bytes(data)
            await self._link().use("put", lambda place: place.put(key, whole, content_type))
            return StoredObject(key, len(whole), await digest_of(whole))
        measured = _Measured(_parts_of(data))
        source: Source = measured.parts()
        await self._link().use("put", lambda place: place.put(key, source, content_type))
        return StoredObject(key, measured.size, measured.sha256.hexdigest())

    async def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """Return all bytes; `stream` is for those that memory should not hold at once.

        sha256: what `put` returned. Raise ObjectNotFound, ObjectDamaged if the bytes are others.
        """
        key = object_key(key)
        data = await self._link().use("get", lambda place: place.get(key))
        if sha256 is not None and (found := await digest_of(data)) != sha256:
            raise ObjectDamaged(key, f"its SHA-256 is {found}, not {sha256}")
        return data

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield the bytes in parts, each within `objects_timeout`; raise ObjectNotFound before the first."""
        key = object_key(key)
        async for part in self._link().parts(lambda place: place.stream(key)):
            yield part

    async def delete(self, key: str) -> None:
        """Delete the object; do nothing if there is none."""
        key = object_key(key)
        await self._link().use("delete", lambda place: place.delete(key))

    async def exists(self, key: str) -> bool:
        """Return whether the object is there."""
        key = object_key(key)
        return await self._link().use("exists", lambda place: place.look(key)) is not None

    async def url(self, key: str, *, expires_in: Duration = "1h") -> str:
        """Return a link by which anybody can read the object until it expires; it does not tell whether it is there.

        expires_in: at most 7 days; the link ends earlier with temporary credentials that sign it. Raise
        ConfigurationError for a folder: no server reads it.
        """
        key = object_key(key)
        lasts = seconds(expires_in, "expires_in")
        if not 1 <= lasts <= LONGEST_LINK:
            raise ConfigurationError(
                f"expires_in={shown(expires_in)}: give 1 second to 7 days, the longest that S3 signs"
            )
        return await self._link().use("url", lambda place: place.url(key, lasts))

    def put_sync(self, key: str, data: Data, *, content_type: str = "") -> StoredObject:
        """Do as `put` from blocking code; raise WrongThread on a thread that runs an event loop."""
        return portal().run(lambda: self.put(key, data, content_type=content_type))

    def get_sync(self, key: str, *, sha256: str | None = None) -> bytes:
        """Do as `get` from blocking code; raise WrongThread on a thread that runs an event loop."""
        return portal().run(lambda: self.get(key, sha256=sha256))

    def delete_sync(self, key: str) -> None:
        """Do as `delete` from blocking code; raise WrongThread on a thread that runs an event loop."""
        portal().run(lambda: self.delete(key))

    def exists_sync(self, key: str) -> bool:
        """Do as `exists` from blocking code; raise WrongThread on a thread that runs an event loop."""
        return portal().run(lambda: self.exists(key))

    def url_sync(self, key: str, *, expires_in: Duration = "1h") -> str:
        """Do as `url` from blocking code; raise WrongThread on a thread that runs an event loop."""
        return portal().run(lambda: self.url(key, expires_in=expires_in))

    async def check(self) -> None:
        """Return when the place answers; raise ToolkitAway, ConfigurationError otherwise."""
        await self._link().use("exists", lambda place: place.look("outlast-check"))


async def digest_of(data: bytes) -> str:
    """Return the SHA-256 of bytes in hex; of many in a thread, which leaves the event loop free."""
    if len(data) <= _IN_LOOP:
        return hashlib.sha256(data).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()


class _Measured:
    """Parts of bytes with their size and digest, known once all were taken."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._parts = parts

    async def parts(self) -> AsyncIterator[bytes]:
        async for part in self._parts:
            if not isinstance(part, bytes | bytearray | memoryview):
                raise InvalidArguments(f"put: a part of the data is {shown(part)}: give bytes")
            whole = bytes(part)
            if not whole:
                continue
            self.size += len(whole)
            if len(whole) > _IN_LOOP:
                await asyncio.to_thread(self.sha256.update, whole)
            else:
                self.sha256.update(whole)
            yield whole


def _parts_of(data: object) -> AsyncIterator[bytes]:
    if isinstance(data, Path):
        return _of_path(data)
    if isinstance(data, AsyncIterable):
        return aiter(data)
    if callable(getattr(data, "read", None)):
        return _of_file(data)  # type: ignore[arg-type]
    raise InvalidArguments(
        f"put: data={shown(data)}: give bytes, a pathlib.Path, a file that is open for reading bytes, or an async "
        "iterator"
    )


async def _of_path(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        async for part in _of_file(file):
            yield part


async def _of_file(file: BinaryIO) -> AsyncIterator[bytes]:
    while part := await asyncio.to_thread(file.read, PART):
        yield part
