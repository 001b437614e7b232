"""The spool: keeps jobs while the store is unreachable, then relays them in order. One relay per file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from typing import Any, Final, TypeVar

from outlast.core.codec import decode, encode
from outlast.core.durability import Durability
from outlast.core.errors import (
    EnqueueUnknown,
    OutlastError,
    StoreError,
    StoreFull,
    StoreMoved,
    StoreUnavailable,
    WireError,
)
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Published
from outlast.core.text import shown
from outlast.core.toolkit_errors import ToolkitAway
from outlast.enqueue.answers import SameKind, refused
from outlast.enqueue.metrics import SpoolCounts
from outlast.enqueue.spool_file import SpooledMessage, SpoolFile

__all__ = ["Spool"]

T = TypeVar("T")
Stored = tuple[list[Accepted | Exists], Durability]

_log = logging.getLogger("outlast.spool")

BATCH: Final = 100
"""Messages per step of the relay."""
PAUSES: Final = (0.1, 0.2, 0.5, 1.0)
"""Seconds between two attempts of the relay; the last value repeats."""
OTHER_RELAY: Final = 1.0
"""Seconds between two checks whether the process that relays has stopped, so that this one takes over."""
AFTER_ERROR: Final = 5.0
"""Seconds until the relay tries again after an error other than an outage."""


class Spool:
    """Jobs of one app that its store has not accepted yet, in the file of `Settings.spool`.

    publish: publishes to the store and raises its errors. The relay may publish a message again that has arrived: the
    store detects it by its id. One object serves all event loops of a process.
    """

    def __init__(
        self,
        path: str,
        *,
        limit: int,
        publish: Callable[[Sequence[Message]], Awaitable[list[Published]]],
        same_kind: SameKind,
        app: str = "",
        queues: Sequence[str] = (),
    ) -> None:
        self._file = SpoolFile(path)
        self._limit = limit
        self._publish = publish
        self._same_kind = same_kind
        self._counts = SpoolCounts(app, queues)
        self._outage = False
        self._stuck = 0
        self._lock = threading.Lock()
        """Guards the thread and the relays: loops of several threads use them."""
        self._thread: ThreadPoolExecutor | None = None
        self._relays: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._pid = os.getpid()

    async def through(self, messages: Sequence[Message], direct: Callable[[], Awaitable[Stored]]) -> Stored:
        """Publish to the store with `direct`; during an outage, keep the messages in the file.

        Return the answers, and the durability of the messages where they are now. Raise StoreFull when the file is
        full too, and any other error of `direct`.
        """
        if not self._outage:  # in an outage only the relay tries the store, so that no caller waits for a timeout
            try:
                return await direct()
            except ToolkitAway:  # only large arguments wait for the object store: other jobs need not be spooled
                pass
            except (StoreUnavailable, StoreFull, EnqueueUnknown) as error:
                self._record_outage(error)
        rows = [(message.id, message.queue, encode(message)) for message in messages]
        try:
            try:
                await self._do(self._file.add, rows, self._limit)
            except StoreMoved:  # the next call opens the file that is there; their ids let it keep each once
                await self._do(self._file.add, rows, self._limit)
        except BaseException as error:
            self._outage = False  # the next call tries the store: there may be no relay that does
            if isinstance(error, StoreError):
                self._counts.full(messages)
            raise
        self._counts.spooled(messages)
        self.relay()
        return [ACCEPTED] * len(messages), self._file.durability

    def relay(self) -> None:
        """Start a relay on the running loop, unless it has one or there is no file; it ends when the file is empty."""
        loop = asyncio.get_running_loop()
        with self._guarded():
            task = self._relays.get(loop)
            if (task is None or task.done()) and self._file.exists():
                self._relays[loop] = loop.create_task(self._run(), name="outlast-spool")

    async def close(self) -> None:
        """End the relay of the running loop; jobs left in the file wait for the next process."""
        with self._guarded():
            task = self._relays.pop(asyncio.get_running_loop(), None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with self._guarded():
            if self._relays:
                return
            thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)
        self._file.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Hold the lock, without what is of the process that this one was forked from, and of loops that have ended."""
        if self._pid != os.getpid():
            self._lock, self._thread, self._relays, self._pid = threading.Lock(), None, {}, os.getpid()
        with self._lock:
            self._relays = {each: task for each, task in self._relays.items() if not each.is_closed()}
            yield

    async def _run(self) -> None:
        pauses = chain(PAUSES, repeat(PAUSES[-1]))
        while True:
            try:
                wait = await self._step(pauses)
            except Exception:  # any error: without another attempt, the jobs in the file would never arrive
                _log.exception("the spool %s cannot be relayed: next attempt in %g s", self._file.path, AFTER_ERROR)
                wait = AFTER_ERROR
            if wait is None:
                self._outage = False
                return
            await asyncio.sleep(wait)

    async def _step(self, pauses: Iterator[float]) -> float | None:
        """Relay until the file is empty or the store refuses; return seconds until the next step, None if empty."""
        with self._file.relaying() as locked:
            if not locked:
                waiting, _ = await self._do(self._file.count)
                return OTHER_RELAY if waiting else None
            full: dict[str, float] = {}
            moved = False
            while batch := await self._do(self._file.head, BATCH, without=list(full)):
                stored = await self._forward(batch, full)
                if stored is None:
                    return next(pauses)
                moved = moved or stored
            self._tell_damage()
            if full:
                return min(5.0, *full.values())
            if moved and not self._file.stuck:
                _log.warning("the spool %s is empty: the store has all jobs", self._file.path)
            return None

    async def _forward(self, batch: Sequence[SpooledMessage], full: dict[str, float]) -> bool | None:
        """Publish a batch; return whether the store accepted any, None in an outage. full: receives the full queues."""
        messages: dict[int, Message] = {}
        set_aside: list[tuple[int, str]] = []
        for each in batch:
            try:
                messages[each.seq] = _message_of(each)
            except WireError as error:
                set_aside.append((each.seq, str(error)))
        try:
            answers = await self._answers(messages, set_aside)
        except (StoreUnavailable, StoreFull, EnqueueUnknown, TimeoutError) as error:
            self._record_outage(error)
            return None
        self._outage = False
        stored: list[int] = []
        for seq, answer in answers.items():
            message = messages[seq]
            refusal = refused(message, answer, self._same_kind)
            if refusal is None:
                stored.append(seq)
                if isinstance(answer, Exists) and answer.by == "unique":
                    _log.warning("spooled job %s is not stored: job %s holds its unique key", message.id, answer.id)
            elif refusal.retry_after is None:
                set_aside.append((seq, str(refusal.error)))
            else:
                full[message.queue] = max(0.1, refusal.retry_after)
        ids = {each.seq: each.id for each in batch}
        for seq, reason in set_aside:
            _log.error("spooled job %r is set aside in %s, and kept: %s", ids[seq], self._file.path, reason)
        await self._do(self._take_out, stored, set_aside)
        return bool(stored)

    def _take_out(self, stored: Sequence[int], set_aside: Sequence[tuple[int, str]]) -> None:
        """Take them out of the file, and count them in the same thread: the relay may be cancelled meanwhile."""
        self._file.take_out(stored, set_aside)
        self._counts.stored.add(len(stored))
        self._counts.set_aside.add(len(set_aside))

    async def _answers(
        self, messages: Mapping[int, Message], set_aside: list[tuple[int, str]]
    ) -> Mapping[int, Published]:
        """Publish the messages; set aside those that the store cannot take at all, if it can take others.

        Raise as `publish` does. An error of Outlast is not about one message: all of them stay.
        """
        if not messages:
            return {}
        try:
            return dict(zip(messages, await self._publish(list(messages.values())), strict=True))
        except (OutlastError, TimeoutError):
            raise
        except Exception as error:
            cause = error
        answers: dict[int, Published] = {}
        failed: list[tuple[int, str]] = []
        for seq, message in messages.items():
            try:
                (answers[seq],) = await self._publish([message])
            except (OutlastError, TimeoutError):
                raise
            except Exception as error:
                failed.append((seq, f"{type(error).__name__}: {error}"))
        if not answers:
            raise cause
        set_aside += failed
        return answers

    def _tell_damage(self) -> None:
        told, self._stuck = self._stuck, self._file.stuck
        if self._stuck > told:
            _log.error(
                "the spool %s is damaged: %d of its jobs cannot be read or removed, the others are relayed; stop all "
                "processes, keep the file and its -wal, and recover its content with the sqlite3 shell's .recover",
                self._file.path,
                self._stuck,
            )

    def _record_outage(self, error: Exception) -> None:
        if not self._outage:
            self._outage = True
            what = "full" if isinstance(error, StoreFull) else "unreachable"
            _log.warning("the store is %s (%s): jobs are spooled to %s", what, error, self._file.path)

    async def _do(self, work: Callable[..., T], *args: Any, **options: Any) -> T:
        """Run `work` in the thread of the file."""
        with self._guarded():  # a thread that another loop shuts down meanwhile takes no more work
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="outlast-spool")
            doing = asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **options))
        return await asyncio.shield(doing)


def _message_of(row: SpooledMessage) -> Message:
    """Return the message of a row; raise WireError, also when the row is not of this message."""
    message = decode(row.body)
    if (message.id, message.queue) != (row.id, row.queue):
        raise WireError(f"its row is of job {shown(row.id)} in queue {shown(row.queue)}, its body of {message.id!r}")
    return message
