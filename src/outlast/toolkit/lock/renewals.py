"""Renews the leases of a process on the loop of the portal's thread, and ends in time those that it cannot renew."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Final

from outlast.aio.notifier import Notifier
from outlast.aio.portal import portal
from outlast.core.errors import OutlastError
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.lock.forms import lock_store
from outlast.toolkit.lock.lease import LockLease

if TYPE_CHECKING:
    from outlast.toolkit.access import Toolkit

__all__ = ["Renewals"]

logger = logging.getLogger("outlast.toolkit")

AGAIN: Final = 0.1
"""The part of a lease after which a renewal that failed is tried again."""


class Renewals:
    """The leases that this process holds in one store.

    A loop of a holder that is blocked delays no renewal: only the end of the process, or one that stands still, does. A
    lease ends by the clock alone, whether or not the store answers.
    """

    def __init__(self, kit: Toolkit) -> None:
        self._kit: Final = kit
        self._clock: Final = kit.clock
        self._leases: dict[str, LockLease] = {}
        self._lock = threading.RLock()
        self.pid = os.getpid()
        self._runs = False
        self._next = math.inf
        self._due = Notifier()
        self._calls: set[asyncio.Task[None]] = set()
        subscribe: Callable[[Callable[[], None]], None] | None = getattr(kit.clock, "subscribe", None)
        if subscribe is not None:
            subscribe(self._due.notify)

    def add(self, lease: LockLease) -> None:
        """Renew a lease until `remove`."""
        with self._lock:
            if self.pid != os.getpid():  # a forked child holds none of its parent's
                self.pid, self._runs, self._leases = os.getpid(), False, {}
            self._leases[lease.held.holder] = lease
            starts, self._runs = not self._runs, True
            sooner = lease.renew_at < self._next
        if starts:
            portal().at_stop(self._stop)
            # Outside the context of the caller: its deadline must not bound the renewals of all.
            Context().run(portal().submit, self._run)
        elif sooner:
            self._due.notify()

    def leases(self) -> list[LockLease]:
        """Return what is renewed."""
        with self._lock:
            return [*self._leases.values()]

    def remove(self, lease: LockLease) -> None:
        """Renew a lease no more."""
        with self._lock:
            self._leases.pop(lease.held.holder, None)

    async def _run(self) -> None:
        while True:
            seen = self._due.count
            wait = self.step()
            if wait is None:
                return
            await self._due.wait(seen, wait)

    async def _stop(self) -> None:
        """End with the portal: the leases end by themselves."""
        with self._lock:
            self._leases.clear()
        self._due.notify()

    def step(self) -> float | None:
        """End what is overdue, begin to renew what is due; return the seconds until the next, None without a lease."""
        now = self._clock.monotonic()
        with self._lock:
            if not self._leases:
                self._runs, self._next = False, math.inf
                return None
            over = [each for each in self._leases.values() if each.ends_at <= now]
            for each in over:
                del self._leases[each.held.holder]
            due = [each for each in self._leases.values() if each.renew_at <= now and not each.in_renewal]
            for each in due:
                each.in_renewal = True
            self._next = min(
                # One that is to be renewed again after its end ends first.
                (
                    each.ends_at if each.in_renewal else min(each.renew_at, each.ends_at)
                    for each in self._leases.values()
                ),
                default=now,
            )
        for each in over:
            self._lose(each, "it could not be renewed in time")
        if due:
            call = asyncio.get_running_loop().create_task(self._renew(due), name="outlast-lock-renewal")
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return max(0.0, self._next - now)

    async def _renew(self, leases: list[LockLease]) -> None:
        held, sent = [each.held for each in leases], self._clock.monotonic()
        try:
            lost = await self._kit.use(lambda store: lock_store(store).renew(held))
        except OutlastError as error:
            wait = error.retry_after or 0.0 if isinstance(error, ToolkitAway) else 0.0
            now = self._clock.monotonic()
            for each in leases:
                each.renew_at = now + max(min(wait, 1.0), each.held.lease * AGAIN)
            logger.warning("locks could not be renewed, trying again: %s", error)
        else:
            for each in leases:
                if each.held.holder in lost:
                    self.remove(each)
                    self._lose(each, "the store does not have it any more")
                else:
                    each.renewed(sent)
        finally:
            for each in leases:
                each.in_renewal = False
            self._due.notify()

    def _lose(self, lease: LockLease, why: str) -> None:
        if not lease.left:
            logger.warning("lock %r (token %d) was lost: %s", lease.name, lease.token, why)
            lease.lose(why)
