"""The toolkit of an app: one store per event loop, opened at its first use, and each call to it through a guard."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, Final, TypeVar, cast

from outlast.aio.per_loop import PerLoop
from outlast.aio.portal import has_short_loops, portal
from outlast.aio.tasks import cancel
from outlast.core.clock import Clock
from outlast.core.errors import (
    DeadlinePassed,
    GuardOpen,
    GuardTimeout,
    StoreError,
    StoreFull,
    StoreMoved,
    StoreRefused,
    StoreUnavailable,
    StoreUncertain,
)
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.away import OPEN_FOR, guard_of, is_away, refused
from outlast.toolkit.store import PartAway, ToolkitStore
from outlast.toolkit.stores import connect_toolkit

__all__ = ["Toolkit"]

T = TypeVar("T")
_log = logging.getLogger("outlast.toolkit")

TELL_EVERY: Final = 30.0
"""Seconds between two log lines of one kind about a store that an operator must correct."""


class _CannotOpen(StoreError):
    """The place of the data does not fit: a damaged file, or one of another program, a number of no database."""


_AWAY: Final = (StoreUnavailable, StoreFull, StoreRefused, GuardTimeout, _CannotOpen)
"""Errors of a call that tell of all calls. Any other is of this call alone, such as a command that is not permitted."""


class _ClosedMeanwhile(Exception):
    """The store was closed in this process during the call, which says nothing about the place of its data."""


class _Opened:
    """The store of one loop, and the attempt to open it, which all first uses share.

    within: seconds that an attempt may take. It goes on when a caller ends: callers that all have less time than the
    opening needs would never open it.
    """

    __slots__ = ("_attempt", "_within", "closed", "ready", "store")

    def __init__(self, store: ToolkitStore, within: float) -> None:
        self.closed = False
        self.ready = False
        self.store = store
        self._within = within
        self._attempt: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self.closed:
            raise _ClosedMeanwhile
        if self._attempt is None or self._attempt.done():
            # Outside the context of the caller: what runs in the background of a store outlives the call.
            self._attempt = asyncio.create_task(self._open(), context=Context(), name="outlast-toolkit-open")
            self._attempt.add_done_callback(_retrieve_error)
        attempt = self._attempt
        try:
            await asyncio.shield(attempt)
        except asyncio.CancelledError:
            if attempt.cancelled():
                raise _ClosedMeanwhile from None
            raise

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._within):
                await self.store.open()
        except TimeoutError:
            raise StoreUnavailable(f"it could not be opened within {self._within:g} s (toolkit_timeout)") from None
        except StoreError as error:
            if isinstance(error, _AWAY):
                raise
            raise _CannotOpen(str(error)) from error
        self.ready = True

    async def close(self) -> None:
        self.closed, self.ready = True, False
        if self._attempt is not None:
            await cancel(self._attempt)
        await self.store.close()


def _retrieve_error(attempt: asyncio.Task[None]) -> None:
    """Do not let asyncio log the error of an attempt whose callers have ended: the next attempt raises its own."""
    if not attempt.cancelled():
        attempt.exception()


class Toolkit:
    """The store of the toolkit's pieces, for all event loops and threads of a process.

    url: see `connect_toolkit`. timeout: seconds that one call may take, the opening of the store included. Every call
    goes through a guard of this process: after a call that failed or took too long, the store counts as away for
    OPEN_FOR seconds, and calls raise ToolkitAway at once.
    """

    def __init__(
        self, url: str, *, clock: Clock, timeout: float, connect: Callable[[str, Clock], ToolkitStore] = connect_toolkit
    ) -> None:
        self.url: Final = url
        self.clock: Final = clock
        self.timeout: Final = timeout
        self._connect = connect
        self._cause = ""
        """The last failure of a call."""
        self._told: dict[type[StoreError], float] = {}
        self._pieces: dict[tuple[int, object], Any] = {}
        """By the id of the process: a fork must not have the locks of its parent's pieces."""
        self._single: dict[int, ToolkitStore] = {}
        """The store that all loops of a process share, by the id of the process: a fork must not copy its locks."""
        self._loops = PerLoop(self._make, close=self.close, abandon=lambda opened: opened.store.close())
        self._guard = guard_of("toolkit", timeout=timeout, failures=_AWAY, ignore=(_ClosedMeanwhile, PartAway))

    @property
    def is_away(self) -> bool:
        """Whether calls are refused now: a call has failed in the last OPEN_FOR seconds, or one tries the store."""
        return is_away(self._guard)

    def piece(self, make: Callable[[Toolkit], T]) -> T:
        """Return what a piece keeps in this process, made by `make(toolkit)` at its first use.

        Two threads may both make one, of which one is kept: no lock is held, which a fork would copy.
        """
        key = (os.getpid(), make)
        found = self._pieces.get(key)
        return cast(T, self._pieces.setdefault(key, make(self)) if found is None else found)

    def _make(self) -> _Opened:
        if portal().loop is asyncio.get_running_loop():
            portal().at_stop(self.close)
        process = os.getpid()
        store = self._single.get(process) or self._connect(self.url, self.clock)
        if store.in_process:
            store = self._single.setdefault(process, store)  # of the first uses in two threads
        return _Opened(store, self.timeout)

    def use(self, call: Callable[[ToolkitStore], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """Return `await call(store)`. Raise ToolkitAway for any StoreError of it; its other errors.

        What an operator must correct (a password, a permission, space, a damaged file) is logged too, with the fix.
        """
        # Not `async`: each coroutine around another costs a cached read some percent.
        return portal().call(lambda: self._use(call)) if has_short_loops() else self._use(call)

    def use_sync(self, call: Callable[[ToolkitStore], Awaitable[T]]) -> T:
        """Do the same from blocking code; raise WrongThread on a thread that runs an event loop."""
        return portal().run(lambda: self._use(call))

    async def _use(self, call: Callable[[ToolkitStore], Awaitable[T]]) -> T:
        opened = self._loops.here() or await self._loops.get()
        if opened.store.in_process:
            return await call(opened.store)
        try:
            return (await self._guard.call(self._called, opened, call))[0]
        except StoreMoved as error:
            self._cause = str(error)
            await self._replace(opened)
            raise ToolkitAway(opened.store.shown, str(error), uncertain=True) from error
        except _ClosedMeanwhile as error:
            why = "it was closed in this process during the call"
            raise ToolkitAway(opened.store.shown, why, uncertain=True) from error
        except PartAway as error:
            self._tell(error.__cause__)
            raise ToolkitAway(
                opened.store.shown, str(error), uncertain=error.uncertain, retry_after=error.retry_after
            ) from error
        except (GuardOpen, DeadlinePassed) as error:
            told = self._cause and not isinstance(error, DeadlinePassed)
            why = f"{error}, after: {self._cause}" if told else str(error)
            raise refused(opened.store.shown, error, why) from error
        except (StoreError, GuardTimeout) as error:
            raise self._failed(opened, error) from error

    def _failed(self, opened: _Opened, error: StoreError | GuardTimeout) -> ToolkitAway:
        """Return what a piece is told of a call that failed: whatever the reason, it takes its side."""
        late = isinstance(error, GuardTimeout) and error.timeout < self.timeout
        if not late:
            self._cause = str(error)
        # A step that is refused in its middle, such as by a permission, may have done its first half.
        half = opened.ready and not isinstance(error, StoreUnavailable | StoreFull | StoreRefused)
        self._tell(error)
        return ToolkitAway(
            opened.store.shown,
            str(error),
            uncertain=half or isinstance(error, StoreUncertain | GuardTimeout),
            retry_after=OPEN_FOR,
            by_deadline=late,
        )

    def _tell(self, error: BaseException | None) -> None:
        """Log what an operator must correct, once in TELL_EVERY for each kind of error."""
        if not isinstance(error, StoreError) or isinstance(error, StoreUnavailable):
            return
        now, kind = self.clock.monotonic(), type(error)
        if now - self._told.get(kind, -TELL_EVERY) >= TELL_EVERY:
            self._told[kind] = now
            _log.error("the store of the toolkit cannot be used, each piece takes its side: %s", error)

    async def _called(self, opened: _Opened, call: Callable[[ToolkitStore], Awaitable[T]]) -> tuple[T]:
        """Return the result as the one item of a tuple, which the guard does not look at for the status of HTTP."""
        try:
            if not opened.ready:
                await opened.open()
            return (await call(opened.store),)
        except StoreError as error:
            if opened.closed:
                raise _ClosedMeanwhile from error
            raise

    async def _replace(self, opened: _Opened) -> None:
        """Open the file that is there now at the next use: the one that was open is not in its place any more."""
        if self._loops.here() is opened:
            self._loops.pop()
            await opened.close()

    async def check(self) -> None:
        """Return when the store answers; raise ToolkitAway, ConfigurationError otherwise."""
        await self.use(_nothing)

    async def close(self) -> None:
        """Close the store of the running loop; a later use opens it again."""
        opened = self._loops.pop()
        if opened is not None:
            await opened.close()


async def _nothing(_: ToolkitStore) -> None:
    """An open store answers."""
