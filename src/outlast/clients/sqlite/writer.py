"""Runs all writes of a file in one thread: operations that wait share the next transaction and its one sync."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar

from outlast.aio.notifier import Notifier
from outlast.clients.sqlite.checkpointer import Checkpointer
from outlast.clients.sqlite.connection import SharedConnection
from outlast.clients.sqlite.errors import translated
from outlast.clients.sqlite.file_identity import FileIdentity
from outlast.clients.sqlite.process_notifier import ProcessNotifier
from outlast.clients.sqlite.writer_queue import WriterQueue
from outlast.core.errors import StoreError, StoreFull, StoreMoved, StoreUnavailable

__all__ = ["Apply", "Prepare", "Upkeep", "WriteOperation", "WriteResult", "WriterSession", "WriterThread"]

logger = logging.getLogger("outlast.sqlite")

LOOK: Final = 1.0
"""Seconds between two looks at the place of the file, and at the event loop, when there is nothing to write."""


class WriterSession(Protocol):
    """The writer's connection, and the state of the current transaction. Operations run on it."""

    db: SharedConnection

    @property
    def changes(self) -> Collection[str]:
        """The names of the changes since `begin`: the listeners of each are notified."""

    def begin(self) -> None:
        """Forget all that was read from the file before."""

    def rolled_back(self) -> None:
        """Forget what was read or written in a transaction that was rolled back."""


class Upkeep(Protocol):
    """Work of the thread between two batches, from `next_at` (monotonic seconds) on. No method raises."""

    next_at: float
    wrote: int
    """Transactions since the last `look`, counted by the thread."""

    def look(self, free: Callable[[], bool]) -> None:
        """Do one step of the work, and more steps while `free()` returns true: no batch waits."""

    def close(self) -> None:
        """Do the work that must be done before this process ends."""


S = TypeVar("S", bound=WriterSession)


class WriteOperation(Generic[S]):
    """One call that waits for the writer.

    merge: values that `apply` may run together with those of other operations; a batch of such operations alone goes
    before the transactions of other processes, because a request may wait for it. needs: must be true of the session,
    or the values are not merged. peek: answers without a transaction,
    or returns None when one is needed. undo: called with the result when the caller was cancelled before it got it;
    returns the function that reverts the result, or None.
    """

    __slots__ = ("future", "merge", "needs", "peek", "run", "undo")

    def __init__(
        self,
        run: Callable[[S], Any],
        *,
        merge: Sequence[Any] | None = None,
        needs: Callable[[S], bool] | None = None,
        peek: Callable[[S], Any] | None = None,
        undo: Callable[[Any], Callable[[S], Any] | None] | None = None,
    ) -> None:
        self.run = run
        self.merge = merge
        self.needs = needs
        self.peek = peek
        self.undo = undo
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


WriteResult = tuple[WriteOperation[S], Any, BaseException | None]
Apply = Callable[[S, list[WriteOperation[S]]], list[WriteResult[S]]]
Prepare = Callable[[S, list[WriteOperation[S]]], None]


class WriterThread(Generic[S]):
    """Runs operations on the connection of `session`, batch by batch, in a thread of its own.

    apply: runs a batch in the open transaction and returns a result for each operation; when it raises, the transaction
    is rolled back and each operation runs in its own. prepare: called with a batch before its transaction begins.
    notifiers: by the names of changes, notified on the loop before the batch is answered. processes: notifies other
    processes after that. A batch is answered only while the path leads to the file of `identity`. abandoned: closes all
    files; called in the thread when the loop was closed before.
    """

    def __init__(
        self,
        session: S,
        identity: FileIdentity,
        *,
        apply: Apply[S],
        prepare: Prepare[S] | None = None,
        notifiers: Mapping[str, Notifier],
        processes: ProcessNotifier,
        checkpointer: Checkpointer,
        upkeep: Upkeep,
        abandoned: Callable[[], None],
    ) -> None:
        self._session = session
        self._identity = identity
        self._path = identity.path
        self._abandoned = abandoned
        self._apply = apply
        self._prepare = prepare
        self._notifiers = notifiers
        self._processes = processes
        self._changes: set[str] = set()
        self._checkpointer = checkpointer
        self._upkeep = upkeep
        self._queue = WriterQueue(processes.folder)
        self._loop = asyncio.get_running_loop()
        self._pending: list[WriteOperation[S]] = []
        self._busy = False
        self._scheduled = False
        self._closed = False
        self._quiet = asyncio.Event()
        self._batches: queue.SimpleQueue[list[WriteOperation[S]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="outlast-sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(self, operation: WriteOperation[S]) -> Any:
        """Run `operation` in the next transaction and return its result.

        If the caller is cancelled before that transaction begins, the operation never runs.
        """
        if self._closed:
            raise StoreUnavailable(f"{self._path} is closed in this process: open it before use")
        self._add(operation)
        future = operation.future
        try:
            return await future
        except asyncio.CancelledError:
            # The result may arrive in the same round of the loop as the cancellation: then the caller does not get it.
            if not future.cancelled() and future.done() and future.exception() is None:
                self._undo(operation, future.result())
            raise

    def _add(self, operation: WriteOperation[S]) -> None:
        self._pending.append(operation)
        if not (self._busy or self._scheduled):
            self._scheduled = True
            self._loop.call_soon(self._start_soon)

    def _undo(self, operation: WriteOperation[S], result: Any) -> None:
        """Revert the result of an operation whose caller was cancelled."""
        run = operation.undo(result) if operation.undo is not None else None
        if run is not None:
            undoing: WriteOperation[S] = WriteOperation(run)
            undoing.future.add_done_callback(self._undone)
            self._add(undoing)

    def _undone(self, future: asyncio.Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            logger.warning("%s: the result of a cancelled call could not be reverted: %s", self._path, error)

    def _start_soon(self) -> None:
        """Wait a second round of the loop: operations of tasks that the first ones have woken share the transaction."""
        self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._scheduled = False
        if self._busy or not self._pending:
            return
        batch = [operation for operation in self._pending if not operation.future.done()]
        self._pending.clear()
        if batch:
            self._busy = True
            self._batches.put(batch)
        else:
            self._quiet.set()

    def _done(self, results: list[WriteResult[S]], changes: Collection[str]) -> None:
        self._busy = False
        for name in changes:
            self._notifiers[name].notify()
        for operation, result, error in results:
            if operation.future.done():
                if error is None:
                    self._undo(operation, result)
            elif error is not None:
                operation.future.set_exception(error)
            else:
                operation.future.set_result(result)
        if self._pending and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._start_soon)
        self._quiet.set()

    async def close(self) -> None:
        """Finish the submitted operations, then stop the thread; `join` waits for its end. Cancelled: drop the rest.

        On another loop, after the loop of this writer was closed: no caller waits any more, so drop all.
        """
        self._closed = True
        if self._loop.is_closed():
            self._pending.clear()
            self._batches.put(None)
            return
        try:
            await asyncio.sleep(0)  # a caller that was cancelled in this round still submits its undo
            while self._busy or self._pending:
                self._quiet.clear()
                await self._quiet.wait()
        finally:
            self._batches.put(None)
            for operation in self._pending:
                operation.future.cancel()
            self._pending.clear()

    def join(self) -> None:
        """Wait for the end of the thread; called in another one."""
        self._thread.join()
        self._queue.close()

    def _work(self) -> None:
        upkeep, moved = self._upkeep, False
        look_at = monotonic() + LOOK
        while True:
            try:
                soon = look_at if moved else min(look_at, upkeep.next_at)
                batch = self._batches.get(timeout=max(0.0, soon - monotonic()))
            except queue.Empty:
                batch = []
            if batch is None:
                if not self._identity.is_moved():
                    upkeep.close()
                return
            if batch:
                changes: set[str] = set()
                self._changes = changes
                results = self._run(batch)
                try:
                    self._loop.call_soon_threadsafe(self._done, results, changes)
                except RuntimeError:
                    break  # the loop was closed: no caller waits any more
                for name in changes:  # after the callers of this process have their answers
                    self._processes.notify(name)
                if not self._identity.moved:
                    self._checkpointer.look()
            now = monotonic()
            if now >= look_at:
                if self._loop.is_closed():
                    break
                look_at = now + LOOK
                self._identity.is_moved()
            if self._identity.moved and not moved:
                moved = True
                self._checkpointer.rescue()
            if now >= upkeep.next_at and not moved:
                upkeep.look(self._batches.empty)
        # The event loop ended without closing the store: close its files, so that none stays open.
        self._queue.close()
        self._abandoned()

    def _run(self, batch: list[WriteOperation[S]]) -> list[WriteResult[S]]:
        """Run a batch and return a result for each operation, after any error: without one its caller waits forever."""
        try:
            if self._identity.moved:
                self._identity.check()
            try:
                results = self._attempt(batch)
            except StoreFull:
                if not self._checkpointer.make_room():
                    raise
                results = self._attempt(batch)
            self._identity.check()
            return results
        except Exception as error:
            moved = StoreMoved(self._identity.moved) if self._identity.is_moved() else None  # which may be the cause
            return [(operation, None, moved or error) for operation in batch]
        except BaseException as error:
            stopped = StoreError(f"{self._path}: the writer was interrupted: {error!r}")
            stopped.__cause__ = error
            return [(operation, None, stopped) for operation in batch]

    def _attempt(self, batch: list[WriteOperation[S]]) -> list[WriteResult[S]]:
        session = self._session
        answered: list[WriteResult[S]] = []
        with translated(self._path, session.db):
            session.begin()
            writing = batch
            if all(operation.peek is not None for operation in batch):
                writing = []
                for operation in batch:
                    answer = operation.peek(session) if operation.peek is not None else None
                    if answer is None:
                        writing.append(operation)
                    else:
                        answered.append((operation, answer, None))
            if writing:
                answered += self._transaction(writing)
        self._changes.update(session.changes)
        return answered

    def _transaction(self, batch: list[WriteOperation[S]]) -> list[WriteResult[S]]:
        """Run a batch in one transaction; when one operation fails, run each in its own, so that only it fails."""
        session = self._session
        self._upkeep.wrote += 1
        if self._prepare is not None:
            self._prepare(session, batch)
        self._queue.begin(session.db, urgent=all(operation.merge is not None for operation in batch))
        results: list[WriteResult[S]] | None = None
        try:
            session.begin()
            results = self._apply(session, batch)
            session.db.execute("commit")
        except BaseException as error:
            session.rolled_back()
            if session.db.in_transaction:
                session.db.execute("rollback")
            if results is not None or len(batch) == 1 or not isinstance(error, Exception):
                raise
            return [result for operation in batch for result in self._run([operation])]
        return results
