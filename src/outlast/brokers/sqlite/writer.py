"""The one thread that writes: what asked meanwhile shares the next transaction, and so its one sync of the disk."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from outlast.brokers.sqlite.bell import Bells
from outlast.brokers.sqlite.checkpoint import Checkpointer
from outlast.brokers.sqlite.connection import translated
from outlast.brokers.sqlite.line import Line
from outlast.brokers.sqlite.publish import publish
from outlast.brokers.sqlite.tidy import Tidier
from outlast.brokers.sqlite.transaction import Transaction
from outlast.core.errors import StoreError, StoreFull, StoreUnavailable
from outlast.core.message import Message

__all__ = ["Operation", "Writer"]

logger = logging.getLogger("outlast.sqlite")

Result = tuple["Operation", Any, BaseException | None]


class Operation:
    """One call waiting for the writer.

    peek may answer without a transaction; it returns None when one is needed. undo is asked when the caller was
    cancelled before it saw the result: it returns what takes the result back, or None.
    """

    __slots__ = ("future", "messages", "peek", "run", "undo")

    def __init__(
        self,
        run: Callable[[Transaction], Any],
        *,
        messages: Sequence[Message] | None = None,
        peek: Callable[[Transaction], Any] | None = None,
        undo: Callable[[Any], Callable[[Transaction], Any] | None] | None = None,
    ) -> None:
        self.run = run
        self.messages = messages
        self.peek = peek
        self.undo = undo
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Writer:
    """Runs operations on its own connection, batch by batch, in a thread of its own.

    After each batch it calls `rung(work, ended)` on the loop: jobs may be ready, jobs have ended.
    """

    def __init__(
        self,
        tx: Transaction,
        path: str,
        *,
        bells: Bells,
        rung: Callable[[bool, bool], None],
        checkpointer: Checkpointer,
        tidier: Tidier,
    ) -> None:
        self._tx = tx
        self._path = path
        self._bells = bells
        self._rung = rung
        self._work_rings = False
        self._ended_rings = False
        self._checkpointer = checkpointer
        self._tidier = tidier
        self._line = Line(bells.folder)
        self._loop = asyncio.get_running_loop()
        self._pending: list[Operation] = []
        self._busy = False
        self._kicking = False
        self._closed = False
        self._quiet = asyncio.Event()
        self._batches: queue.SimpleQueue[list[Operation] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="outlast-sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(self, operation: Operation) -> Any:
        """Run `operation` in the next transaction and return its result.

        Cancelled before its transaction began, it never runs.
        """
        if self._closed:
            raise StoreUnavailable(f"{self._path} is closed here: open it before use")
        self._add(operation)
        future = operation.future
        try:
            return await future
        except asyncio.CancelledError:
            # The result may have come in the same round of the loop as the cancellation, which then wins.
            if not future.cancelled() and future.done() and future.exception() is None:
                self._take_back(operation, future.result())
            raise

    def _add(self, operation: Operation) -> None:
        self._pending.append(operation)
        if not (self._busy or self._kicking):
            self._kicking = True
            self._loop.call_soon(self._kick_next)

    def _take_back(self, operation: Operation, result: Any) -> None:
        """Undo what was done for a caller who went away: nobody else would."""
        run = operation.undo(result) if operation.undo is not None else None
        if run is not None:
            undoing = Operation(run)
            undoing.future.add_done_callback(self._taken_back)
            self._add(undoing)

    def _taken_back(self, future: asyncio.Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            logger.warning("%s: what a cancelled call had been given could not be given back: %s", self._path, error)

    def _kick_next(self) -> None:
        """Two rounds of the loop: what one task says, and what another says because of it, share a transaction."""
        self._loop.call_soon(self._kick)

    def _kick(self) -> None:
        self._kicking = False
        if self._busy or not self._pending:
            return
        batch = [operation for operation in self._pending if not operation.future.done()]
        self._pending.clear()
        if batch:
            self._busy = True
            self._batches.put(batch)
        else:
            self._quiet.set()

    def _done(self, results: list[Result], work: bool, ended: bool) -> None:
        self._busy = False
        self._rung(work, ended)
        for operation, result, error in results:
            if operation.future.done():
                if error is None:
                    self._take_back(operation, result)
            elif error is not None:
                operation.future.set_exception(error)
            else:
                operation.future.set_result(result)
        if self._pending and not self._kicking:
            self._kicking = True
            self._loop.call_soon(self._kick_next)
        self._quiet.set()

    async def close(self) -> None:
        """Finish what was submitted, then let the thread end; `join` waits for that. Cancelled, it drops the rest."""
        self._closed = True
        try:
            await asyncio.sleep(0)  # a caller cancelled in this very round has something to give back
            while self._busy or self._pending:
                self._quiet.clear()
                await self._quiet.wait()
        finally:
            self._batches.put(None)
            for operation in self._pending:
                operation.future.cancel()
            self._pending.clear()

    def join(self) -> None:
        """Wait, in another thread, for the end of this one."""
        self._thread.join()
        self._line.close()

    def _work(self) -> None:
        while True:
            try:
                batch = self._batches.get(timeout=max(0.0, self._tidier.next_at - time.monotonic()))
            except queue.Empty:
                batch = []
            if batch is None:
                self._tidier.close()
                return
            if batch:
                self._work_rings = self._ended_rings = False
                results = self._run(batch)
                try:
                    self._loop.call_soon_threadsafe(self._done, results, self._work_rings, self._ended_rings)
                except RuntimeError:
                    break  # the loop was closed: nobody waits any more
                self._ring()
                self._checkpointer.look()
            if time.monotonic() >= self._tidier.next_at:
                if self._loop.is_closed():
                    break
                self._tidier.look(self._batches.empty)
        # Left behind by a loop that ended without closing the store: leave no thread and no open file either.
        self._checkpointer.close()
        self._line.close()
        self._bells.close()
        self._tx.db.close()

    def _ring(self) -> None:
        """Wake the other processes, after this one has its answer."""
        if self._work_rings:
            self._bells.ring("work")
        if self._ended_rings:
            self._bells.ring("ended")

    def _run(self, batch: list[Operation]) -> list[Result]:
        """Run a batch and return a result for each, whatever happens: who gets none would wait for ever."""
        try:
            try:
                return self._attempt(batch)
            except StoreFull:
                if not self._checkpointer.make_room():
                    raise
                return self._attempt(batch)
        except Exception as error:
            return [(operation, None, error) for operation in batch]
        except BaseException as error:
            stopped = StoreError(f"{self._path}: the writer was interrupted: {error!r}")
            stopped.__cause__ = error
            return [(operation, None, stopped) for operation in batch]

    def _attempt(self, batch: list[Operation]) -> list[Result]:
        tx = self._tx
        answered: list[Result] = []
        with translated(self._path, tx.db):
            tx.begin()
            writing = batch
            if all(operation.peek is not None for operation in batch):
                writing = []
                for operation in batch:
                    answer = operation.peek(tx) if operation.peek is not None else None
                    if answer is None:
                        writing.append(operation)
                    else:
                        answered.append((operation, answer, None))
            if writing:
                answered += self._transaction(writing)
        self._work_rings |= tx.work
        self._ended_rings |= tx.ended
        return answered

    def _transaction(self, batch: list[Operation]) -> list[Result]:
        """Run a batch in one transaction; when one operation fails, run each in its own, so that only it fails."""
        tx = self._tx
        self._tidier.wrote += 1
        self._line.begin(tx.db)
        try:
            tx.begin()
            results = self._apply(batch)
            tx.write_counts()
        except Exception:
            self._roll_back()
            if len(batch) == 1:
                raise
            return [result for operation in batch for result in self._run([operation])]
        except BaseException:
            self._roll_back()
            raise
        try:
            tx.db.execute("commit")
        except BaseException:
            self._roll_back()
            raise
        return results

    def _roll_back(self) -> None:
        self._tx.holders.clear()
        self._tx.asked.clear()
        self._tx.work = self._tx.ended = False
        if self._tx.db.in_transaction:
            self._tx.db.execute("rollback")

    def _apply(self, batch: list[Operation]) -> list[Result]:
        publishing = [operation for operation in batch if operation.messages is not None]
        results: list[Result] = []
        if len(publishing) > 1:
            everything = [message for operation in publishing for message in operation.messages or ()]
            answers = publish(self._tx, everything)
            at = 0
            for operation in publishing:
                size = len(operation.messages or ())
                results.append((operation, answers[at : at + size], None))
                at += size
            batch = [operation for operation in batch if operation.messages is None]
        # Claims last: what the others give back or add may be handed out at once.
        batch = sorted(batch, key=lambda operation: operation.peek is not None)
        results += [(operation, operation.run(self._tx), None) for operation in batch]
        return results
