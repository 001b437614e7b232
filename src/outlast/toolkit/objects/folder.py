"""Objects as files of a folder of this host."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeVar
from uuid import uuid4

from outlast.aio.threads import Threads
from outlast.core.errors import ConfigurationError, InvalidArguments, StoreFull, StoreUnavailable
from outlast.core.toolkit_errors import ObjectDamaged, ObjectNotFound
from outlast.toolkit.objects.keys import OWN
from outlast.toolkit.objects.place import Listed, ObjectPlace, Source

__all__ = ["ObjectFolder"]

T = TypeVar("T")

PART: Final = 1024 * 1024
"""Bytes that are read or written in one step."""
STALE: Final = 86400.0
"""Seconds after which a file that no put has finished is removed."""
PAGE: Final = 1000
_THREADS: Final = 8
"""Of a folder: a disk that hangs must not take the threads of the app."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class ObjectFolder(ObjectPlace):
    """The files below `root`. Each is written beside, synced and renamed: a reader finds all bytes of a put, or none.

    Files have mode 0600, folders 0700. root: made at the first put.
    """

    def __init__(self, root: str) -> None:
        self.root: Final = Path(root).absolute()
        self.shown = f"file:{self.root}"
        self._unfinished = self.root / OWN / "unfinished"
        self._threads = Threads(_THREADS, "outlast-objects")

    async def put(self, key: str, source: Source, content_type: str) -> None:
        """Write a file beside, sync it, and rename it to its place."""
        path = self._path(key)
        if isinstance(source, bytes):
            await self._run(key, lambda: self._write(path, source))
            return
        beside, file = await self._run(key, self._begin)
        done = False
        try:
            async for part in source:
                await self._run(key, lambda part=part: file.write(part))  # type: ignore[misc]
            await self._run(key, lambda: self._finish(file, beside, path))
            done = True
        finally:
            self._leave(file, None if done else beside)

    async def get(self, key: str, most: int | None = None) -> bytes:
        """Read the file."""

        def read() -> bytes:
            with self._open(key) as file:
                data = file.read() if most is None else file.read(most + 1)
            if most is not None and len(data) > most:
                raise ObjectDamaged(key, f"it has more than the {most} bytes that were put")
            return data

        return await self._run(key, read)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Read the file part by part; a put meanwhile does not change what is read."""
        file = await self._run(key, lambda: self._open(key))
        try:
            while part := await self._run(key, lambda: file.read(PART)):
                yield part
        finally:
            self._leave(file)

    async def delete(self, key: str) -> None:
        """Remove the file, and the folders that it leaves empty."""

        def remove() -> None:
            path = self._path(key)
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
            with suppress(OSError):  # not empty
                for folder in path.relative_to(self.root).parents:
                    if folder.parts:
                        (self.root / folder).rmdir()

        await self._run(key, remove)

    async def look(self, key: str) -> Listed | None:
        """Return what is there."""

        return await self._run(key, lambda: self._listed(key))

    async def pages(self, prefix: str) -> AsyncIterator[list[Listed]]:
        """Yield the files below a folder."""
        names = await self._run(prefix, lambda: self._below(prefix))
        for start in range(0, len(names), PAGE):
            page = names[start : start + PAGE]
            found = await self._run(prefix, lambda page=page: [self._listed(name) for name in page])  # type: ignore[misc]
            yield [each for each in found if each is not None]

    async def url(self, key: str, seconds: float) -> str:
        """Raise: no server reads this folder."""
        raise ConfigurationError(
            f"objects_url={self.shown!r}: a folder makes no links: answer with shop.objects.stream(key) in a route of "
            "the app, which also checks who asks, or give objects_url='s3://...'"
        )

    async def tidy(self) -> None:
        """Remove what puts have left that were cut off STALE seconds ago, by the clock of the folder's disk."""

        def remove() -> None:
            beside, file = self._begin()
            with file:
                now = os.fstat(file.fileno()).st_mtime
            beside.unlink()
            for entry in os.scandir(self._unfinished):
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < now - STALE:
                        Path(entry).unlink()

        await self._run("", remove)

    # In threads

    def _path(self, key: str) -> Path:
        """Return the file of a key; raise InvalidArguments where a link leads out of the folder."""
        path = self.root / key
        real = os.path.realpath(self.root)
        if os.path.commonpath((real, os.path.realpath(path))) != real:
            raise InvalidArguments(f"object key {key!r}: a link in {self.root} leads out of it: remove the link")
        return path

    def _listed(self, key: str) -> Listed | None:
        try:
            found = self._path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Listed(key, found.st_size, found.st_mtime)

    def _open(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectNotFound(key) from None

    def _leave(self, file: BinaryIO, beside: Path | None = None) -> None:
        """Close a file, and remove what was written beside, in a thread: a call that hangs would hold both up."""

        def leave() -> None:
            with suppress(OSError):
                file.close()
            if beside is not None:
                with suppress(OSError):
                    beside.unlink()

        self._threads.submit(leave, lambda *_: None)

    def _begin(self) -> tuple[Path, BinaryIO]:
        self._make(self._unfinished)
        beside = self._unfinished / uuid4().hex
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        return beside, os.fdopen(descriptor, "wb")

    def _write(self, path: Path, data: bytes) -> None:
        beside, file = self._begin()
        try:
            with file:
                file.write(data)
                self._finish(file, beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise

    def _finish(self, file: BinaryIO, beside: Path, path: Path) -> None:
        file.flush()
        os.fsync(file.fileno())
        while True:
            self._make(path.parent)
            try:
                beside.rename(path)
            except FileNotFoundError:  # a delete has just removed the empty folder
                if not beside.exists():
                    raise
                continue
            _sync(path.parent)
            return

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it, each synced into its own."""
        made: list[Path] = []
        while True:
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                if not made:
                    return
                folder = made.pop()
            except FileNotFoundError:
                made.append(folder)
                folder = folder.parent
            else:
                _sync(folder.parent)
                if not made:
                    return
                folder = made.pop()

    def _below(self, prefix: str) -> list[str]:
        found: list[str] = []
        for folder, _, files in os.walk(self.root / prefix):
            found += [(Path(folder) / file).relative_to(self.root).as_posix() for file in files]
        return found

    async def _run(self, key: str, call: Callable[[], T]) -> T:
        """Return what `call` returns in a thread, its errors as those of a place."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def answer(value: T, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self._threads.submit(call, answer)
        try:
            return await future
        except OSError as error:
            if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
                raise InvalidArguments(
                    f"object key {key!r}: {self.root} has a file where this key needs a folder, or the other way "
                    "round: give a key that begins differently"
                ) from None
            kind = StoreFull if error.errno in _FULL else StoreUnavailable
            raise kind(f"{self.shown}: {error.strerror or error}") from error


def _sync(folder: Path) -> None:
    """Let the names in a folder survive a crash of the host; a folder that a delete has just removed has none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
