"""Leader election: one process at a time does a work, and another takes over when that one ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from outlast.core.toolkit_errors import LockLost
from outlast.toolkit.lock.lease import LockLease
from outlast.toolkit.lock.lock import Lock

__all__ = ["Leader"]

T = TypeVar("T")


class Leader:
    """A candidate for one leadership; made by `shop.leader(name)`. One work at a time for each object."""

    def __init__(self, lock: Lock) -> None:
        self._lock: Final = lock
        self._lease: LockLease | None = None

    @property
    def leads(self) -> bool:
        """Whether this candidate is surely the leader now."""
        return self._lease is not None and not self._lease.lost

    async def run(self, work: Callable[[LockLease], Awaitable[T]]) -> T:
        """Wait to be the leader, then return `await work(lease)`.

        When the leadership is lost, the work is cancelled, and starts again when it is regained. Raise what it raises.
        """
        while True:
            lease: LockLease | None = None
            try:
                async with self._lock as lease:
                    self._lease = lease
                    return await work(lease)
            except LockLost as error:
                if lease is None or (error.name, error.token) != (lease.name, lease.token):
                    raise
            finally:
                self._lease = None
