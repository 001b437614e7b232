"""The one thread that writes: what asked meanwhile shares the next transaction, and so its one sync of the disk."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw

from outlast.brokers.sqlite.bell import Bells
from outlast.brokers.sqlite.checkpoint import Checkpointer
from outlast.brokers.sqlite.connection import translated
from outlast.brokers.sqlite.publish import publish
from outlast.brokers.sqlite.retention import prune
from outlast.brokers.sqlite.transaction import Transaction
from outlast.core.errors import OutlastError, StoreUnavailable
from outlast.core.message import Message

__all__ = ["Operation", "Writer"]

logger = logging.getLogger("outlast.sqlite")

IDLE: Final = 5.0
"""Seconds without work after which the thread looks at what can be tidied up."""
TIDY_EVERY: Final = 12
"""Idle looks between two applications of retention: a minute."""
VACUUM_PAGES: Final = 1000
"""Free pages that are worth giving back, and the most given back in one transaction."""

Result = tuple["Operation", Any, BaseException | None]


class Operation:
    """One call waiting for the writer. peek may answer without a transaction; it returns None when one is needed."""

    __slots__ = ("abandoned", "future", "messages", "peek", "run")

    def __init__(
        self,
        run: Callable[[Transaction], Any],
        *,
        messages: Sequence[Message] | None = None,
        peek: Callable[[Transaction], Any] | None = None,
        abandoned: Callable[[Any], None] | None = None,
    ) -> None:
        self.run = run
        self.messages = messages
        self.peek = peek
        self.abandoned = abandoned
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Writer:
    """Runs operations on its own connection, batch by batch; `rung` is called on the loop after work was added."""

    def __init__(self, tx: Transaction, path: str, bells: Bells, checkpointer: Checkpointer) -> None:
        self._tx = tx
        self._path = path
        self._bells = bells
        self._checkpointer = checkpointer
        self._loop = asyncio.get_running_loop()
        self._pending: list[Operation] = []
        self._busy = False
        self._kicking = False
        self._closed = False
        self._quiet = asyncio.Event()
        self._batches: queue.SimpleQueue[list[Operation] | None] = queue.SimpleQueue()
        self._idle_looks = 0
        self._thread = threading.Thread(target=self._work, name="outlast-sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(self, operation: Operation) -> Any:
        """Run `operation` in the next transaction and return its result.

        Cancelled before its transaction began, it never runs.
        """
        if self._closed:
            raise StoreUnavailable(f"{self._path} is closed here: open it before use")
        self._pending.append(operation)
        if not (self._busy or self._kicking):
            self._kicking = True
            # At the end of this round of the loop, so that all it has to say goes in one transaction.
            self._loop.call_soon(self._kick)
        return await operation.future

    def _kick(self) -> None:
        self._kicking = False
        if self._busy or not self._pending:
            return
        batch = [operation for operation in self._pending if not operation.future.cancelled()]
        self._pending.clear()
        if batch:
            self._busy = True
            self._batches.put(batch)
        else:
            self._quiet.set()

    def _done(self, results: list[Result]) -> None:
        self._busy = False
        for operation, result, error in results:
            if operation.future.cancelled():
                if operation.abandoned is not None and error is None:
                    operation.abandoned(result)
            elif error is not None:
                operation.future.set_exception(error)
            else:
                operation.future.set_result(result)
        if self._pending and not self._kicking:
            self._kicking = True
            self._loop.call_soon(self._kick)
        self._quiet.set()

    async def close(self) -> None:
        """Finish what was submitted, then end the thread."""
        self._closed = True
        while self._busy or self._pending:
            self._quiet.clear()
            await self._quiet.wait()
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while True:
            try:
                batch = self._batches.get(timeout=IDLE)
            except queue.Empty:
                self._tidy()
                continue
            if batch is None:
                return
            results = self._run(batch)
            try:
                self._loop.call_soon_threadsafe(self._done, results)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more
            self._checkpointer.look()

    def _run(self, batch: list[Operation]) -> list[Result]:
        tx = self._tx
        answered: list[Result] = []
        try:
            with translated(self._path):
                tx.begin()
                writing = []
                for operation in batch:
                    answer = operation.peek(tx) if operation.peek is not None and len(batch) == 1 else None
                    if answer is not None:
                        answered.append((operation, answer, None))
                    else:
                        writing.append(operation)
                if writing:
                    answered += self._transaction(writing)
        except OutlastError as error:
            return [(operation, None, error) for operation in batch]
        if tx.work:
            self._bells.ring("work")
        if tx.ended:
            self._bells.ring("ended")
        return answered

    def _transaction(self, batch: list[Operation]) -> list[Result]:
        """Run a batch in one transaction; when one operation fails, run each in its own, so that only it fails."""
        tx = self._tx
        tx.db.execute("begin immediate")
        try:
            tx.begin()
            results = self._apply(batch)
            tx.write_counts()
        except Exception as error:
            self._roll_back()
            if len(batch) == 1:
                with translated(self._path):
                    if isinstance(error, apsw.Error):
                        raise
                return [(batch[0], None, error)]
            return [result for operation in batch for result in self._run([operation])]
        except BaseException:
            self._roll_back()
            raise
        try:
            tx.db.execute("commit")
        except apsw.Error:
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
        results += [(operation, operation.run(self._tx), None) for operation in batch]
        return results

    def _tidy(self) -> None:
        """Retention, once a minute; a shorter file and log, when there is something to give back."""
        tx = self._tx
        try:
            self._idle_looks += 1
            if self._idle_looks % TIDY_EVERY == 0:
                tx.begin()
                due = any(tx.one("any_over", (tx.queue(name).number, tx.now)) for name in tx.names())
                more = due
                while more and self._batches.empty():
                    with tx.db:
                        tx.begin()
                        _, more = prune(tx)
                        tx.write_counts()
            while self._batches.empty() and int(tx.db.pragma("freelist_count")) > VACUUM_PAGES:
                tx.db.execute(f"pragma incremental_vacuum({VACUUM_PAGES})").fetchall()
            self._checkpointer.idle()
        except apsw.Error as error:
            logger.warning("%s could not be tidied up, and will be at the next idle time: %s", self._path, error)
