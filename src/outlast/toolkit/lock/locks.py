"""The locks of a process in one store: waits for a turn, and gives it back."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from outlast.aio.notifier import Notifier
from outlast.aio.portal import portal
from outlast.aio.tasks import cancel
from outlast.core.errors import OutlastError
from outlast.core.toolkit_errors import LockTimeout, ToolkitAway
from outlast.resilience.deadlines import ends_at, remaining, restore
from outlast.toolkit.lock.forms import lock_store
from outlast.toolkit.lock.lease import MARGIN, LockLease
from outlast.toolkit.lock.lines import Lines
from outlast.toolkit.lock.renewals import Renewals
from outlast.toolkit.lock.store import PROCESS, TICKET, Ask, Holding, LockStore, Turn
from outlast.toolkit.metrics import LOCK_ACQUISITIONS, degraded, series_of
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.access import Toolkit

__all__ = ["Locks", "Terms"]

logger = logging.getLogger("outlast.toolkit")

_ENDS: Final = series_of(LOCK_ACQUISITIONS, results=("acquired", "timeout", "away", "cancelled"))
_RAISED: Final = degraded("lock", "raised")["raised"]
LOOK: Final = TICKET / 3
"""Seconds between two asks of a waiter, which keep its place in line."""
AWAY: Final = 1.0
"""Seconds between two asks while the store is away, if it does not say when it may answer."""


class Terms(Struct, frozen=True):
    """What is acquired. key: in the store; name: for people; wait: seconds, None for ever, 0 for one try."""

    key: str
    name: str
    slots: int
    lease: float
    wait: float | None


class _Attempt:
    """One acquisition: what is asked, and what is known of its place. notifier: None until it has to wait."""

    __slots__ = ("ask", "notifier", "seen", "ticket")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.ticket = 0
        self.notifier: Notifier | None = None
        self.seen = 0


class Locks:
    """The locks of one toolkit, for all event loops and threads of a process."""

    def __init__(self, kit: Toolkit) -> None:
        self._kit: Final = kit
        self._clock: Final = kit.clock
        self._lines = Lines()
        self.renewals = Renewals(kit)
        self._moved = Notifier()
        self._leaving: set[asyncio.Task[Any]] = set()
        self._heard: set[Notifier] = set()
        self._last_token = 0
        self._process = secrets.token_hex(PROCESS // 2)
        self._steps = getattr(kit.clock, "subscribe", None) is not None
        if self._steps:
            subscribe: Callable[[Callable[[], None]], None] = kit.clock.subscribe  # type: ignore[attr-defined]
            subscribe(self._clock_moved)

    def _clock_moved(self) -> None:
        """Wake all waits: their time is that of the clock."""
        self._moved.notify()
        for each in tuple(self._heard):
            each.notify()

    async def acquire(self, terms: Terms) -> LockLease:
        """Wait for a turn and return its lease, which is renewed from now on.

        Raise LockTimeout when others had it until the end of the wait, ToolkitAway when the store was away then.
        """
        began = self._clock.monotonic()
        left = [each for each in (terms.wait, remaining()) if each is not None]
        ends = began + min(left) if left else None
        ask = Ask(
            terms.key,
            self._process + secrets.token_hex(10),
            terms.slots,
            terms.lease,
            terms.wait != 0,
            self._last_token,
        )
        attempt = _Attempt(ask)
        try:
            lease = await self._wait(attempt, terms, began, ends)
        except OutlastError as error:
            _count_failure(error)
            if ask.join or (isinstance(error, ToolkitAway) and error.uncertain):
                await self._leave_quietly(Holding(ask.key, ask.holder, ask.lease))
            raise
        except BaseException:
            _ENDS["cancelled"].add()
            self._leave_later(Holding(ask.key, ask.holder, ask.lease))
            raise
        finally:
            self._lines.move(ask.key, attempt.ticket, 0)
        self.renewals.add(lease)
        _ENDS["acquired"].add()
        return lease

    async def _wait(self, attempt: _Attempt, terms: Terms, began: float, ends: float | None) -> LockLease:
        while True:
            sent = self._clock.monotonic()
            away: ToolkitAway | None = None
            answer, due = Turn(), sent
            try:
                answer = await self._kit.use(lambda store: self._look(store, attempt))
            except ToolkitAway as error:
                away, due = error, sent + (error.retry_after or AWAY)
            now = self._clock.monotonic()
            if answer.token and now < sent + terms.lease * (1 - MARGIN):
                self._last_token = max(self._last_token, answer.token)
                held = Holding(terms.key, attempt.ask.holder, terms.lease)
                return LockLease(terms.name, answer.token, held, sent, self._clock)
            if ends is not None and now >= ends and not answer.token:
                raise away or LockTimeout(terms.name, now - began)
            if away is not None:
                await self._pause(due if ends is None else min(due, ends))
            elif not answer.token:
                due = now + min(LOOK, answer.soon)
                await self._turn(attempt, due if ends is None else min(due, ends))

    async def _look(self, store: ToolkitStore, attempt: _Attempt) -> Turn:
        """Ask once; one that has to wait listens from then on, and asks again: it may have missed a notification."""
        form = lock_store(store)
        answer = await self._ask(form, attempt)
        if answer.token or not attempt.ask.join:
            return answer
        notifier = form.listen(attempt.ask.key, attempt.ask.holder)
        if notifier is not attempt.notifier:
            attempt.notifier, attempt.seen = notifier, notifier.count
            if self._steps:
                self._heard.add(notifier)
            answer = await self._ask(form, attempt)
        return answer

    async def _ask(self, form: LockStore, attempt: _Attempt) -> Turn:
        if attempt.notifier is not None:
            attempt.seen = attempt.notifier.count
        ask = structs.replace(attempt.ask, seen=self._last_token)
        answer = await form.ask(ask)
        self._lines.move(ask.key, attempt.ticket, answer.ticket)
        attempt.ticket = answer.ticket
        return answer

    async def _turn(self, attempt: _Attempt, due: float) -> None:
        """Wait until `due`, or a notification while no other waiter of this process stands before this one."""
        notifier = attempt.notifier
        while notifier is not None:
            left = due - self._clock.monotonic()
            if left <= 0:
                return
            await notifier.wait(attempt.seen, left)
            told = notifier.count != attempt.seen
            if told and self._lines.before(attempt.ask.key, attempt.ticket) < attempt.ask.slots:
                return
            attempt.seen = notifier.count

    async def _pause(self, due: float) -> None:
        while (left := due - self._clock.monotonic()) > 0:
            await self._moved.wait(self._moved.count, left)

    async def release(self, lease: LockLease) -> None:
        """Give a turn back. When the store does not answer, the lease ends by itself."""
        if not lease.is_here:
            return
        self.renewals.remove(lease)
        if lease.lost:
            self._leave_later(lease.held)  # the store may be away: the error of the loss must not wait for it
            return
        try:
            await self._leave_quietly(lease.held)
        except BaseException:
            self._leave_later(lease.held)
            raise

    async def _leave_quietly(self, held: Holding) -> None:
        before = ends_at(None)  # a deadline that has passed would keep the lock until its lease ends
        try:
            await self._kit.use(lambda store: lock_store(store).leave(held))
        except OutlastError:
            self._leave_later(held)
        finally:
            restore(before)

    def _leave_later(self, held: Holding) -> None:
        """Give up a turn or a place in the background, again and again until it has ended by itself."""
        with suppress(RuntimeError):  # at the exit of the interpreter: it ends by itself
            Context().run(portal().submit, lambda: self._leave_in_time(held))

    async def _stop(self) -> None:
        await cancel(*self._leaving)

    async def _leave_in_time(self, held: Holding) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        portal().at_stop(self._stop)
        ends = self._clock.monotonic() + max(held.lease, TICKET)
        while True:
            try:
                await self._kit.use(lambda store: lock_store(store).leave(held))
                return
            except OutlastError as error:
                wait = error.retry_after if isinstance(error, ToolkitAway) else None
                due = self._clock.monotonic() + (wait or AWAY)
                if due >= ends:
                    logger.info("lock %r was not released, it ends with its lease: %s", held.key, error)
                    return
            await self._pause(due)


def _count_failure(error: OutlastError) -> None:
    """Count a wait that ended without a turn."""
    if isinstance(error, LockTimeout):
        _ENDS["timeout"].add()
    elif isinstance(error, ToolkitAway):
        _ENDS["away"].add()
        _RAISED.add()
