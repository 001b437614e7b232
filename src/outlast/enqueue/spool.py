"""The spool: keeps jobs while the store is away, and relays them in order when it is back. One relay for each file."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, TypeVar

from outlast.core.codec import decode, encode
from outlast.core.durability import Durability
from outlast.core.errors import EnqueueUnknown, StoreFull, StoreUnavailable, WireError
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Published
from outlast.enqueue.answers import refused
from outlast.enqueue.spool_file import SpooledMessage, SpoolFile

__all__ = ["Spool"]

T = TypeVar("T")
Stored = tuple[list[Accepted | Exists], Durability]

_log = logging.getLogger("outlast.enqueue.spool")

BATCH: Final = 100
"""Messages that are relayed in one step."""
PAUSES: Final = (0.1, 0.2, 0.5, 1.0)
"""Seconds between two attempts of the relay; the last goes on."""
OTHER: Final = 1.0
"""Seconds until a process that is not the one who relays looks whether it is to take over."""

TROUBLE: Final = 5.0
"""Seconds until the relay tries again after an error that is none of an outage."""

_Step = Literal["empty", "some", "away", "full", "other"]


class Spool:
    """Jobs of one app that its store has not taken yet, in the file of `Settings.spool`.

    publish: hands messages to the store, for the relay; raises what the store raises. It is called again with messages
    that may have arrived: the store knows them by their ids. One object serves all event loops of a process.
    """

    def __init__(
        self, path: str, *, limit: int, publish: Callable[[Sequence[Message]], Awaitable[list[Published]]]
    ) -> None:
        self._file = SpoolFile(path)
        self._limit = limit
        self._publish = publish
        self._away = False
        self._thread: ThreadPoolExecutor | None = None
        self._pid = 0
        self._relays: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    async def through(self, messages: Sequence[Message], direct: Callable[[], Awaitable[Stored]]) -> Stored:
        """Return what `direct` does, which asks the store; or keep the messages here while that cannot be reached.

        The second part of the answer is what the messages survive where they are now. Raise StoreFull when this file
        is full too, and what `direct` raises for any other reason.
        """
        if not self._away:  # else the relay is the one who finds out that it is back: a deadline costs nobody else
            try:
                return await direct()
            except (StoreUnavailable, StoreFull, EnqueueUnknown) as error:
                self._is_away(error)
        rows = [(message.id, message.queue, encode(message)) for message in messages]
        try:
            await self._do(self._file.add, rows, self._limit)
        except BaseException:
            self._away = False  # the next one asks the store again: no relay may be there to do so
            raise
        self.relay()
        return [ACCEPTED] * len(messages), self._file.durability

    def relay(self) -> None:
        """Have the running loop relay what is there, if nobody does, until the file is empty."""
        loop = asyncio.get_running_loop()
        self._relays = {each: task for each, task in self._relays.items() if not each.is_closed()}
        task = self._relays.get(loop)
        if (task is None or task.done()) and self._file.exists():
            self._relays[loop] = loop.create_task(self._run(), name="outlast-spool")

    async def close(self) -> None:
        """End the running loop's relay; what is left in the file waits for the next process."""
        task = self._relays.pop(asyncio.get_running_loop(), None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if not self._relays:
            thread, self._thread = self._thread, None
            if thread is not None:
                await asyncio.to_thread(thread.shutdown)
            self._file.close()

    async def _run(self) -> None:
        tries = 0
        while True:
            try:
                step, wait = await self._step()
            except Exception:  # whatever it is, what is in the file is to arrive some time
                _log.exception("the spool %s cannot be relayed now", self._file.path)
                step, wait = "full", TROUBLE
            match step:
                case "empty":
                    self._away = False
                    return
                case "some":
                    tries = 0
                case "away":
                    wait = PAUSES[min(tries, len(PAUSES) - 1)]
                    tries += 1
                case _:
                    pass
            await asyncio.sleep(wait)

    async def _step(self) -> tuple[_Step, float]:
        """Relay one batch; return what there is to do, and the seconds to wait before it."""
        with self._file.relaying() as mine:
            if not mine:
                waiting, _ = await self._do(self._file.count)
                return ("other", OTHER) if waiting else ("empty", 0.0)
            full: dict[str, float] = {}
            moved = False
            while batch := await self._do(self._file.head, BATCH, without=list(full)):
                stored = await self._forward(batch, full)
                if stored is None:
                    return "away", 0.0
                moved = moved or stored
            if full:
                return "full", min(5.0, *full.values())
            if moved:
                _log.warning("the spool %s is empty: the store has all jobs", self._file.path)
            return "empty", 0.0

    async def _forward(self, batch: Sequence[SpooledMessage], full: dict[str, float]) -> bool | None:
        """Forward these; tell whether the store took any, None: it is away. full: gets the queues that are full."""
        messages: dict[int, Message] = {}
        set_aside: list[tuple[int, str]] = []
        for each in batch:
            try:
                messages[each.seq] = decode(each.body)
            except WireError as error:
                set_aside.append((each.seq, str(error)))
        try:
            answers = await self._publish(list(messages.values())) if messages else []
        except (StoreUnavailable, StoreFull, EnqueueUnknown, TimeoutError) as error:
            self._is_away(error)
            return None
        self._away = False
        stored: list[int] = []
        for (seq, message), answer in zip(messages.items(), answers, strict=True):
            refusal = refused(message, answer)
            if refusal is None:
                stored.append(seq)
            elif refusal.retry_after is None:
                set_aside.append((seq, str(refusal.error)))
            else:
                full[message.queue] = max(0.1, refusal.retry_after)
        for _, why in set_aside:
            _log.error("the store refused a spooled job, which is set aside in %s: %s", self._file.path, why)
        await self._do(self._file.take_out, stored, set_aside)
        return bool(stored)

    def _is_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            _log.warning("the store is away (%s): jobs are spooled to %s", error, self._file.path)

    async def _do(self, work: Callable[..., T], *args: Any, **options: Any) -> T:
        """Do one thing with the file, in the thread that is kept for it."""
        if self._thread is None or self._pid != os.getpid():  # a thread does not cross a fork
            self._thread, self._pid = ThreadPoolExecutor(1, thread_name_prefix="outlast-spool"), os.getpid()
        doing = asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **options))
        return await asyncio.shield(doing)
