"""Renews the leases of the keys that a process holds, and stores late what could not be stored at once."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Final

from msgspec import Struct

from outlast.aio.notifier import Notifier
from outlast.aio.portal import portal
from outlast.aio.tasks import cancel
from outlast.core.errors import StoreError
from outlast.core.text import counted
from outlast.toolkit.access import Toolkit
from outlast.toolkit.idempotency.forms import records_of
from outlast.toolkit.metrics import degraded
from outlast.toolkit.store import ToolkitStore

__all__ = ["AWAY", "LEASE", "EndedKey", "HeldKey", "KeyKeeper"]

LEASE: Final = 30.0
"""Seconds after which a key is free whose process does not renew it any more."""
RENEW: Final = LEASE / 3
"""Seconds between two renewals."""
AGAIN: Final = 1.0
"""Seconds until what the store did not take is tried again."""
LATEST: Final = 3600.0
"""Seconds after the end of a request in which its answer is stored late; then it is given up, and logged."""

AWAY: Final = degraded("idempotency", "raised", "later", "given-up")
"""Requests that were refused, ends of requests that are stored later, and those that were given up."""
_log = logging.getLogger("outlast.toolkit")


class HeldKey(Struct, frozen=True):
    """A key that a request holds. id: of the key in its scope; payload: the request's digest; ttl: of its answer."""

    id: str
    payload: bytes
    token: str
    ttl: float

    async def renew(self, store: ToolkitStore) -> bool:
        """Hold it for LEASE seconds from now; return False if another request may have it."""
        return await records_of(store).renew(self.id, self.token, LEASE)

    def ended_with(self, answer: bytes | None) -> EndedKey:
        """Return what is to be stored at the end of the request. answer: None frees the key."""
        return EndedKey(self, answer)


class EndedKey(Struct, frozen=True):
    """The end of a request that held a key."""

    held: HeldKey
    answer: bytes | None

    async def step(self, store: ToolkitStore) -> bool:
        """Store the answer, or free the key; return whether that was done."""
        records, held = records_of(store), self.held
        if self.answer is None:
            await records.free(held.id, held.token)
            return True
        return await records.finish(held.id, held.payload, held.token, self.answer, held.ttl)


class _Late(Struct):
    ended: EndedKey
    until: float
    """Monotonic seconds at which it is given up."""


class KeyKeeper:
    """Looks after the keys that this process holds, on the loop of the portal: a blocked event loop loses none.

    It runs only while there are keys. Thread-safe.
    """

    def __init__(self, kit: Toolkit) -> None:
        self._kit = kit
        self._lock = threading.Lock()
        self._held: dict[str, HeldKey] = {}
        self._late: dict[str, _Late] = {}
        self._process = os.getpid()
        self._running: Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = Notifier()

    def hold(self, held: HeldKey) -> None:
        """Renew the key from now on."""
        with self._lock:
            self._begin()
            self._held[held.token] = held

    def end(self, held: HeldKey) -> None:
        """Renew the key no more: its end is being stored."""
        with self._lock:
            self._held.pop(held.token, None)

    def later(self, ended: EndedKey) -> None:
        """Store the end as soon as the store takes it."""
        AWAY["later"].add()
        until = self._kit.clock.monotonic() + (LEASE if ended.answer is None else LATEST)  # a key frees itself
        with self._lock:
            self._begin()
            self._late.setdefault(ended.held.token, _Late(ended, until))
        self._news.notify()

    def _begin(self) -> None:
        """Have the work running, called with the lock held: the work looks for keys when it is let go."""
        if self._process != os.getpid():  # a fork: the keys, and the thread that renews them, are the parent's
            self._process, self._running = os.getpid(), None
            self._held, self._late = {}, {}
        if self._running is None or self._running.done():
            portal().at_stop(self.close)
            # Outside the context of the request, whose deadline would end each later call of the work.
            self._running = Context().run(portal().submit, self._work)

    async def _work(self) -> None:
        self._task = asyncio.current_task()
        pause = RENEW
        while self._has_work():
            seen = self._news.count
            if pause == AGAIN or not self._late:
                await self._news.wait(seen, pause)
            try:
                pause = AGAIN if await self.step() else RENEW
            except Exception:
                _log.exception("the leases of idempotency keys could not be renewed, trying again")
                pause = AGAIN

    async def close(self) -> None:
        """Try once more to store what is late, and renew no more; on the loop of the portal."""
        if self._task is not None:
            await cancel(self._task)
            self._task = None
        with suppress(StoreError):
            for late in [*self._late.values()]:
                await self._kit.use(late.ended.step)
        await self._kit.close()

    def _has_work(self) -> bool:
        """Return whether a key is left; otherwise the work ends, in the step that sees that."""
        with self._lock:
            if self._held or self._late:
                return True
            self._running = None
            return False

    async def step(self) -> bool:
        """Store what is late, then renew the keys that are held; return whether the store failed."""
        with self._lock:
            late, held = [*self._late.values()], [*self._held.values()]
        failed = False
        for work in (*(partial(self._stored, each) for each in late), *(partial(self._renewed, key) for key in held)):
            # One that the store refuses must not hold up the others; while the store is away, each call would wait.
            failed = not await work() or failed
            if failed and self._kit.is_away:
                break
        return failed

    async def _renewed(self, key: HeldKey) -> bool:
        """Renew a key; return whether the store answered."""
        try:
            if not await self._kit.use(key.renew):
                self._lost(key)
        except StoreError:
            return False
        return True

    async def _stored(self, late: _Late) -> bool:
        """Store what is late; return whether the store took it, or it is given up."""
        ended = late.ended
        try:
            await self._kit.use(ended.step)
        except StoreError as error:
            if self._kit.clock.monotonic() < late.until:
                return False
            AWAY["given-up"].add()
            if ended.answer is not None:
                _log.error(
                    "an answer was given up that could not be stored for an hour (%s): a repetition of its request "
                    "runs again",
                    error,
                )
        with self._lock:
            self._late.pop(ended.held.token, None)
        return True

    def _lost(self, key: HeldKey) -> None:
        with self._lock:
            known = self._held.pop(key.token, None)
        if known is not None:  # it may have ended during the call
            _log.warning(
                "the lease of an idempotency key ended while its request ran (no renewal for %s): a repetition may run "
                "too; the answer of the one that ends first is kept",
                counted(int(LEASE), "second"),
            )
