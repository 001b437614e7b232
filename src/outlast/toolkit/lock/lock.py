"""Lock: one holder at a time, or a few, in all processes that share a store; a fencing token for each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Final

from outlast.aio.portal import portal
from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown
from outlast.resilience.blocks import Blocks, owner_of_block
from outlast.toolkit.keys import key_text
from outlast.toolkit.lock.lease import LockLease
from outlast.toolkit.lock.locks import Locks, Terms

if TYPE_CHECKING:
    from outlast.toolkit.access import Toolkit

__all__ = ["LEASE", "Lock"]

LEASE: Final = 10.0
SHORTEST: Final = 1.0
"""The shortest lease in seconds: a renewal must have time to be repeated."""
_MOST_SLOTS: Final = 10_000


class Lock:
    """A lock, or a semaphore with `slots` holders at once: `async with shop.lock("stock:7") as lease:`, or `with`.

    Entering waits for the turn, first come, first served, and returns the `LockLease`, which is renewed until the block
    ends. When it is lost, the task of the block is cancelled and the block raises LockLost; in a thread `lease.check()`
    and the end of the block raise it. Entering raises LockTimeout after `wait` seconds (None: never; 0: one try) or at
    the deadline around it, ToolkitAway when the store is away then, WrongThread for `with` on the thread of an event
    loop. The object may be used by many tasks and threads at once; it is not re-entrant.
    """

    def __init__(
        self,
        kit: Callable[[], Toolkit],
        name: str,
        *,
        kind: str = "lock",
        slots: int = 1,
        lease: Duration = LEASE,
        wait: Duration | None = None,
    ) -> None:
        if type(slots) is not int or not 1 <= slots <= _MOST_SLOTS:
            raise ConfigurationError(f"{kind} {shown(name)}: slots={shown(slots)}: give 1 to {_MOST_SLOTS:,}")
        key = key_text(name, f"name of the {kind}")
        length = seconds(lease, f"{kind} {shown(name)}: lease")
        if length < SHORTEST:
            raise ConfigurationError(f"{kind} {shown(name)}: lease={shown(lease)}: give {SHORTEST:g} s or more")
        patience = None if wait is None else seconds(wait, f"{kind} {shown(name)}: wait")
        self.name: Final = name
        self._terms: Final = Terms(f"{kind}:{key}", name, slots, length, patience)
        self._kit: Final = kit
        self._blocks = Blocks[LockLease]()

    def _locks(self) -> Locks:
        return self._kit().piece(Locks)

    async def __aenter__(self) -> LockLease:
        frame = sys._getframe(1)
        lease = await self._locks().acquire(self._terms)
        return self._entered(lease, frame)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = self._ending(sys._getframe(1))
        lost = lease.leave(kind)
        await self._locks().release(lease)
        if lost:
            raise lease.error() from error

    def __enter__(self) -> LockLease:
        frame = sys._getframe(1)
        locks = self._locks()
        lease = portal().run(lambda: locks.acquire(self._terms))
        return self._entered(lease, frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = self._ending(sys._getframe(1))
        lost = lease.leave(kind)
        locks = self._locks()
        portal().run(lambda: locks.release(lease))
        if lost:
            raise lease.error() from error

    def _entered(self, lease: LockLease, frame: FrameType) -> LockLease:
        lease.enter()
        self._blocks.opened(lease, frame)
        return lease

    def _ending(self, frame: FrameType) -> LockLease:
        lease = self._blocks.ended(owner_of_block(), frame)
        if lease is None:
            raise RuntimeError(
                f"lock {shown(self.name)}: no block of this task is open here: write 'async with', and wait= instead "
                "of asyncio.wait_for, which may enter in a task of its own"
            )
        return lease
