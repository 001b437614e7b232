"""A turn that is held: its fencing token, until when it is surely the holder's, and how its body learns of the loss."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from types import CodeType
from typing import Final

from outlast.core.clock import Clock
from outlast.core.toolkit_errors import LockLost
from outlast.resilience.blocks import owner_of_block
from outlast.toolkit.lock.store import Holding
from outlast.toolkit.metrics import LOCK_LOSSES

__all__ = ["MARGIN", "RENEW", "LockLease"]

MARGIN: Final = 0.1
"""The part of a lease that its holder does not use: its body has that time to end before another has a turn."""
_LOSSES: Final = LOCK_LOSSES.of()
RENEW: Final = 1 / 3
"""The part of a lease after which it is renewed."""


class LockLease:
    """A lock that this process holds. name: of the lock. token: larger than that of every earlier holder.

    Its life is counted from before the call that took or renewed it, by the monotonic clock of this host, and ends
    MARGIN of the lease earlier than in the store. Used in any thread.
    """

    __slots__ = (
        "_before",
        "_cancelled",
        "_clock",
        "_loop",
        "_pid",
        "_task",
        "_why",
        "code",
        "ends_at",
        "held",
        "in_renewal",
        "left",
        "name",
        "owner",
        "place",
        "renew_at",
        "token",
    )

    def __init__(self, name: str, token: int, held: Holding, sent: float, clock: Clock) -> None:
        self.name: Final = name
        self.token: Final = token
        self.held: Final = held
        self._clock: Final = clock
        self._why = ""
        self._pid = os.getpid()
        self.ends_at = self.renew_at = 0.0
        """Monotonic seconds: from `ends_at` on it counts as lost."""
        self.in_renewal = self.left = False
        self.renewed(sent)
        self.owner: object = None
        self.place = 0
        self.code: CodeType | None = None
        self._task: asyncio.Task[object] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before = 0
        self._cancelled = False

    @property
    def lost(self) -> bool:
        """Whether another may have the lock now. For code in threads, which cannot be cancelled."""
        return bool(self._why) or self._clock.monotonic() >= self.ends_at or not self.is_here

    @property
    def is_here(self) -> bool:
        """Whether this process took it: a forked child has a copy, and must not give back what its parent holds."""
        return self._pid == os.getpid()

    def check(self) -> None:
        """Raise LockLost if another may have the lock now."""
        if self.lost:
            raise self.error()

    def confirm(self, changed: int) -> None:
        """Raise LockLost if a fenced statement changed no row. changed: its row count.

        Then a newer token has written to the row, or there is no such row.
        """
        if changed <= 0:
            self.lose("a fenced write was refused: a newer token is there, or the row is missing")
            raise self.error()

    def error(self) -> LockLost:
        """Return the error that tells of the loss."""
        why = "it could not be renewed in time" if self.is_here else "it belongs to the process that was forked"
        return LockLost(self.name, self.token, self._why or why)

    def renewed(self, sent: float) -> None:
        """Count from `sent`, the monotonic time before the call that renewed it. A lost lease stays lost."""
        self.ends_at = sent + self.held.lease * (1 - MARGIN)
        self.renew_at = sent + self.held.lease * RENEW

    def enter(self) -> None:
        """Let the running task, if there is one, be cancelled at the loss."""
        self.owner = owner_of_block()
        self._loop = asyncio._get_running_loop()
        if self._loop is not None:
            self._task = asyncio.current_task(self._loop)
            self._before = 0 if self._task is None else self._task.cancelling()

    def lose(self, why: str) -> None:
        """Tell the body, from any thread, that the lock is lost; the first reason is kept."""
        if self._why:
            return
        self._why = why
        _LOSSES.add()
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # the loop was closed: the body has ended with it
                self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()

    def leave(self, kind: type[BaseException] | None) -> bool:
        """End the body, of which `kind` is the error; return whether LockLost is to be raised in its place."""
        task, self._task, self.left = self._task, None, True
        ours = self._cancelled and task is not None and task.uncancel() <= self._before
        lost = self.lost if kind is None else ours and kind is asyncio.CancelledError
        if lost and not self._why:  # by the clock, before a renewal has found it
            _LOSSES.add()
        return lost
