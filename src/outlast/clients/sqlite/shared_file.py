"""One open file of one event loop: a writer thread, a thread for reads, and notifications between processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, TypeVar

import apsw

from outlast.aio.notifier import Notifier
from outlast.clients.sqlite.checkpointer import Checkpointer
from outlast.clients.sqlite.connection import SharedConnection
from outlast.clients.sqlite.errors import translated
from outlast.clients.sqlite.file_identity import RESTART, FileIdentity
from outlast.clients.sqlite.process_notifier import NotificationListener, ProcessNotifier
from outlast.clients.sqlite.tuning import FileTuning
from outlast.clients.sqlite.writer import Apply, Prepare, Upkeep, WriteOperation, WriterSession, WriterThread
from outlast.core.errors import StoreUnavailable

__all__ = ["SharedFile"]

S = TypeVar("S", bound=WriterSession)
T = TypeVar("T")


class SharedFile(Generic[S]):
    """The file at `path`, which any number of processes of one host share. One object serves one event loop.

    open_db: opens the file for the writer, created or migrated as needed, and lets the identity take it. session,
    upkeep: make the state of the writer's transactions, and the work between them. apply, prepare: see `WriterThread`.
    changes: names of changes that other processes notify; `always` is listened for from `open` on, the others from
    `listen` on. reads_here: whether `read_here` is used. when_moved: what StoreMoved tells to do.
    """

    def __init__(
        self,
        path: str,
        *,
        open_db: Callable[[FileIdentity], SharedConnection],
        session: Callable[[SharedConnection], S],
        apply: Apply[S],
        prepare: Prepare[S] | None = None,
        upkeep: Callable[[S, Checkpointer], Upkeep],
        tuning: FileTuning,
        changes: Sequence[str] = (),
        always: Sequence[str] = (),
        reads_here: bool = False,
        when_moved: str = RESTART,
    ) -> None:
        self.identity: Final = FileIdentity(path, fix=when_moved)
        # All processes must use one name: the files beside it (log, lock, sockets) are found by it.
        self.path: Final = self.identity.path
        self._open_db = open_db
        self._session = session
        self._apply = apply
        self._prepare = prepare
        self._upkeep = upkeep
        self._tuning = tuning
        self._always = always
        self._reads_here = reads_here
        self._processes = ProcessNotifier(self.path)
        self.notifiers: Final = {name: Notifier() for name in changes}
        self._listeners: dict[str, NotificationListener] = {}
        self._db: SharedConnection | None = None
        self._reading: apsw.Connection | None = None
        self._reader: ThreadPoolExecutor | None = None
        self._here: apsw.Connection | None = None
        self._writer: WriterThread[S] | None = None
        self._checkpointer: Checkpointer | None = None
        self._opening = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and not closed since."""
        return self._writer is not None

    async def open(self) -> None:
        """Open the file. Raise StoreError or UnsafeStore; opening twice is a no-op."""
        async with self._opening:
            if self._writer is not None:
                return
            reader = ThreadPoolExecutor(1, thread_name_prefix="outlast-sqlite-reader")
            loop = asyncio.get_running_loop()
            try:
                db, self._reading, self._here = await loop.run_in_executor(reader, self._open_all)
            except BaseException:
                reader.shutdown(wait=False)
                raise
            self._db = db
            self._reader = reader
            self._checkpointer = Checkpointer(self.identity, db, self._tuning)
            session = self._session(db)
            self._writer = WriterThread(
                session,
                self.identity,
                apply=self._apply,
                prepare=self._prepare,
                notifiers=self.notifiers,
                processes=self._processes,
                checkpointer=self._checkpointer,
                upkeep=self._upkeep(session, self._checkpointer),
                abandoned=self._abandoned,
            )
            for name in self._always:
                self.listen(name)

    def _open_all(self) -> tuple[SharedConnection, apsw.Connection, apsw.Connection | None]:
        """Open the file for the writer, and again for reads: here, because a connection may wait for a process."""
        opened = [self._open_db(self.identity)]
        try:
            for _ in range(2 if self._reads_here else 1):
                opened.append(self.identity.connect(self._tuning.busy))
                opened[-1].pragma("query_only", 1)
        except BaseException:
            for db in reversed(opened):
                self.identity.close(db)
            raise
        if not self._reads_here:
            return opened[0], opened[1], None
        opened[2].waiting.seconds = 0.0
        return opened[0], opened[1], opened[2]

    def listen(self, name: str) -> Notifier:
        """Return the notifier of a change; from now on other processes notify it too."""
        notifier = self.notifiers[name]
        if name not in self._listeners and self._writer is not None:
            self._listeners[name] = NotificationListener(self._processes, name, notifier.notify)
            self._listeners[name].open()
        return notifier

    async def close(self) -> None:
        """Finish the submitted operations, then close the file."""
        async with self._opening:
            if self._writer is None:
                return
            writer, self._writer = self._writer, None
            self._close_listeners()
            try:
                await writer.close()
            finally:
                # Shielded: a close that is cancelled must close the file too.
                await asyncio.shield(asyncio.to_thread(self._close_file, writer))
            for notifier in self.notifiers.values():
                notifier.notify()

    def _close_listeners(self) -> None:
        while self._listeners:
            self._listeners.popitem()[1].close()

    def _close_file(self, writer: WriterThread[S]) -> None:
        writer.join()
        self._close_connections()

    def _close_connections(self) -> None:
        assert self._checkpointer is not None
        assert self._reader is not None
        self._checkpointer.close()
        self._reader.shutdown()
        for db in (self._here, self._reading, self._db):
            if db is not None:
                self.identity.close(db)
        self._db = self._reading = self._here = None
        self._processes.close()

    def _abandoned(self) -> None:
        """Close all that is open, in the writer's thread: the event loop was closed before the file."""
        self._writer = None
        self._close_listeners()
        self._close_connections()

    async def submit(self, operation: WriteOperation[S]) -> Any:
        """Run an operation in the next transaction of the writer; return its result. Raise StoreError."""
        if self._writer is None:
            raise self._not_open()
        return await self._writer.submit(operation)

    async def read(self, read: Callable[..., T], *args: object) -> T:
        """Return `read(connection, *args)`, run in the thread for reads. Raise StoreError."""
        if self._reader is None or self._writer is None:
            raise self._not_open()
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._run, read, args)

    def _run(self, read: Callable[..., T], args: tuple[object, ...]) -> T:
        try:
            with translated(self.path):
                return read(self._reading, *args)
        finally:
            self.identity.check()  # also after an error, of which it may be the cause

    def read_here(self, read: Callable[[apsw.Connection], T]) -> T:
        """Return `read(connection)`, run on the event loop by a connection of its own: for one indexed row.

        It waits for no other process: readers of the log never do. Raise StoreError.
        """
        if self._writer is None or self._here is None:
            raise self._not_open()
        try:
            with translated(self.path):
                return read(self._here)
        finally:
            self.identity.check()

    def _not_open(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self.path} is not open here: await open() before use")
