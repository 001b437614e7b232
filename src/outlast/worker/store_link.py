"""Calls the store: repeats calls during an outage, and replaces a connection that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic
from typing import Final, TypeVar

from outlast.aio.tasks import cancel
from outlast.core.backoff import Exponential
from outlast.core.clock import Clock
from outlast.core.errors import StoreCorrupt, StoreError, StoreMoved
from outlast.core.store.store import Store
from outlast.meters.metric import OTHER
from outlast.worker.metrics import CALL_SECONDS
from outlast.worker.outages import Outages, StoreStalled

__all__ = ["RENEWAL", "StoreLink", "StoreStalled"]

T = TypeVar("T")

_logger = logging.getLogger("outlast.worker")
_PAUSE: Final = Exponential(base=0.1, cap=2.0)
RENEWAL: Final = "the renewal of leases"
_OPERATIONS: Final = {
    **{name: name for name in ("settle", "claim", "forfeit", "open", "once")},
    RENEWAL: "renew",
}
"""What the metrics call the calls that have a series of their own."""


class StoreLink:
    """One store, with the means to reconnect. reconnect: makes a new store; None when that is not possible (memory).

    patience: seconds that a call may take in addition to its own wait.
    """

    def __init__(
        self, store: Store, clock: Clock, rng: Random, *, reconnect: Callable[[], Store] | None, patience: float
    ) -> None:
        self.store = store
        self.clock = clock
        self.patience = patience
        self.moved: str | None = None
        """Why the store is not used any more: its file was moved or replaced."""
        self.on_stall: Callable[[float], None] = lambda seconds: None
        self._rng = rng
        self._reconnect = reconnect
        self._made: list[Store] = []
        self._outages = Outages(clock)

    @property
    def away(self) -> bool:
        """Whether the last claim, or a settlement, has failed and is repeated: the store does not do its part."""
        return self._outages.waits_for("claim", "settle")

    async def once(
        self, call: Callable[[Store], Awaitable[T]], *, wait: float = 0.0, what: str = "", queue: str = ""
    ) -> T:
        """Return the result of `call(store)`. queue: the queue of the call, where each queue may have its own outage.

        what: the name of a call whose failures are told (`tell`, `pause`): its success may end the outage.

        Raise StoreStalled when the call takes `patience` seconds longer than `wait`; `store` is a new one then. Raise
        StoreMoved at every call since the first that did.
        """
        if self.moved is not None:
            raise StoreMoved(self.moved)
        store, began = self.store, monotonic()
        task = asyncio.ensure_future(call(store))
        try:
            await asyncio.wait((task,), timeout=wait + self.patience)
        except asyncio.CancelledError:
            await cancel(task)
            raise
        if not wait:
            CALL_SECONDS.of(_OPERATIONS.get(what, OTHER)).observe(monotonic() - began)
        if not task.done():
            task.cancel()
            await self._replace(store, wait + self.patience)
            raise StoreStalled(f"no answer from the store for {wait + self.patience:.0f} s")
        if isinstance(error := task.exception(), StoreMoved):
            self.moved = str(error)
        if error is None:
            self._outages.succeeded(what, queue)
        return task.result()

    async def retry(self, what: str, call: Callable[[Store], Awaitable[T]], *, queue: str = "") -> T:
        """Return the result of `call(store)`; on StoreError repeat the idempotent call for ever, up to 2 s apart.

        Raise StoreCorrupt and StoreMoved at once, and StoreStalled when the call hangs again, on the new connection.
        """
        attempt = 0
        stalls = 0
        while True:
            try:
                return await self.once(call, what=what, queue=queue)
            except (StoreCorrupt, StoreMoved):
                raise
            except StoreError as error:
                stalls += isinstance(error, StoreStalled)
                if stalls > 1:
                    raise
                attempt += 1
                await self.pause(what, attempt, error, queue=queue)

    def tell(self, what: str, error: StoreError, *, queue: str = "") -> None:
        """Log that the call `what` has failed and will be repeated, once per outage."""
        self._outages.failed(what, error, queue)

    async def pause(self, what: str, attempt: int, error: StoreError, *, queue: str = "") -> None:
        """Wait before attempt `attempt + 1`; log what is the matter with the store once."""
        self.tell(what, error, queue=queue)
        await asyncio.sleep(_PAUSE.delay(attempt, self._rng))

    async def close(self) -> None:
        """Close the connections that this link made itself."""
        for store in self._made:
            with contextlib.suppress(StoreError, TimeoutError):
                await asyncio.wait_for(store.broker.close(), self.patience)

    async def _replace(self, stalled: Store, seconds: float) -> None:
        self.on_stall(seconds)
        if self.store is not stalled or self._reconnect is None:
            return
        _logger.error("no answer from the store for %.0f s: a new connection replaces the old one", seconds)
        store = self._reconnect()
        self._made.append(store)
        self.store = store
        with contextlib.suppress(StoreError, TimeoutError):  # the caller's next attempt reports why it does not open
            await asyncio.wait_for(store.broker.open(), self.patience)
