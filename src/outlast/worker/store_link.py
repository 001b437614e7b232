"""The worker's line to its store: tries again through an outage, and is replaced when it hangs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeVar

from outlast.aio.tasks import cancel
from outlast.core.backoff import Exponential
from outlast.core.clock import Clock
from outlast.core.errors import StoreCorrupt, StoreError
from outlast.core.store.store import Store

__all__ = ["StoreStalled", "StoreLink"]

T = TypeVar("T")

_logger = logging.getLogger("outlast.worker")
_PAUSE: Final = Exponential(base=0.1, cap=2.0)


class StoreStalled(StoreError):
    """A call to the store did not come back in time."""


class StoreLink:
    """One store, and how to make it anew. `reconnect` None: it cannot be made anew (its jobs are in it).

    patience: seconds that a call may take beyond what it was asked to wait.
    """

    def __init__(
        self, store: Store, clock: Clock, rng: Random, *, reconnect: Callable[[], Store] | None, patience: float
    ) -> None:
        self.store = store
        self.clock = clock
        self.patience = patience
        self.on_stall: Callable[[float], None] = lambda seconds: None
        self._rng = rng
        self._reconnect = reconnect
        self._made: list[Store] = []
        self._away: set[str] = set()

    async def once(self, call: Callable[[Store], Awaitable[T]], *, wait: float = 0.0, queue: str = "") -> T:
        """Return what `call(store)` returns. queue: the one that it is about, where queues lie apart.

        Raise Stalled when it has not come back `patience` seconds after it should have; the store is a new one then.
        """
        store = self.store
        task = asyncio.ensure_future(call(store))
        try:
            await asyncio.wait((task,), timeout=wait + self.patience)
        except asyncio.CancelledError:
            await cancel(task)
            raise
        if not task.done():
            task.cancel()
            await self._replace(store, wait + self.patience)
            raise StoreStalled(f"no answer from the store for {wait + self.patience:.0f} s")
        if queue in self._away and task.exception() is None:
            self._away.discard(queue)
            _logger.warning("the store is back%s", queue and f", for queue {queue!r}")
        return task.result()

    async def insist(self, what: str, call: Callable[[Store], Awaitable[T]], *, queue: str = "") -> T:
        """Return what `call(store)` returns; on StoreError try again for ever, up to 2 s apart. `call` is idempotent.

        Raise StoreCorrupt at once, and Stalled when the call hangs a second time, on the new connection.
        """
        attempt = 0
        stalls = 0
        while True:
            try:
                return await self.once(call, queue=queue)
            except StoreCorrupt:
                raise
            except StoreError as error:
                stalls += isinstance(error, StoreStalled)
                if stalls > 1:
                    raise
                attempt += 1
                await self.pause(what, attempt, error, queue=queue)

    async def pause(self, what: str, attempt: int, error: StoreError, *, queue: str = "") -> None:
        """Wait before attempt number `attempt + 1`; say once per outage that the store is away."""
        if queue not in self._away:
            self._away.add(queue)
            whose = queue and f" of queue {queue!r}"
            _logger.warning("the store is away, %s%s is tried again until it is back: %s", what, whose, error)
        await asyncio.sleep(_PAUSE.delay(attempt, self._rng))

    async def close(self) -> None:
        """Close the connections that this link made itself."""
        for store in self._made:
            with contextlib.suppress(StoreError, TimeoutError):
                await asyncio.wait_for(store.broker.close(), self.patience)

    async def _replace(self, hung: Store, seconds: float) -> None:
        self.on_stall(seconds)
        if self.store is not hung or self._reconnect is None:
            return
        _logger.error("no answer from the store for %.0f s: the connection is made anew", seconds)
        fresh = self._reconnect()
        self._made.append(fresh)
        self.store = fresh
        with contextlib.suppress(StoreError, TimeoutError):  # the caller's next try says why it does not open
            await asyncio.wait_for(fresh.broker.open(), self.patience)
