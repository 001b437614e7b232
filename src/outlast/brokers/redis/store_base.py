"""The common base of the stores on one server and on a Cluster: opening, closing, and the calls that wait."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import uuid4

from outlast.aio.look import Look, look_until
from outlast.aio.notifier import Notifier
from outlast.brokers.redis.claim import ClaimReply, ClaimRequest
from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.clock import Clock
from outlast.core.errors import StoreError
from outlast.core.forecast import Offer
from outlast.core.message import TERMINAL, Delivery, Holder
from outlast.core.select import wanted
from outlast.core.store.broker import Capabilities
from outlast.core.store.records import JobRecord

__all__ = ["BaseRedisStore"]

_log = logging.getLogger("outlast.redis")

SWAPPED: Final = b"guards"
"""The message on the channel `swapped` (lua/guards.lua)."""
POLL: Final = 1.0
"""Seconds after which a waiting call checks again, in case a notification was missed."""


class BaseRedisStore(ABC):
    """A store at one address, for one event loop. Times are those of the server."""

    def __init__(self, address: Address, *, clock: Clock, max_body: int) -> None:
        self._client = RedisClient(address)
        self._notifier = Notifier()
        self._guards_notifier = Notifier()
        """Notified apart from the rest: a busy queue must not make those who wait for guards ask the server."""
        self._max_body = max_body
        self._name = uuid4().hex
        """The server notifies this name when jobs end, and names that begin with it when there are jobs to claim."""
        self._waiters = 0
        self._free_waiters: list[str] = []
        """Names of claims that ended; reused, because the server keeps each name until it notifies it."""
        self._kinds: tuple[str, ...] = ()
        self._loads_told: dict[str, Mapping[str, Offer]] = {}
        """By holder, what the server has of what it can do."""
        self._loads_failed = False
        self._last = ""
        self._opening = asyncio.Lock()
        self._open = False
        subscribe: Callable[[Callable[[], None]], None] | None = getattr(clock, "subscribe", None)
        if subscribe is not None:
            subscribe(self._notifier.notify)

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities by the server's last facts; before the first connection the durability is unknown."""
        level, window = self._client.durability
        return Capabilities(
            durability=level, max_body=self._max_body, shared=True, window=window, spread=self._client.split
        )

    async def open(self) -> None:
        """Connect; raise StoreUnavailable. Opening twice is a no-op."""
        async with self._opening:
            if self._open:
                return
            await self._client.open()
            await self._start()
            root = f"{{{self._client.address.namespace}}}"
            channels = (f"{root}:bell:{self._name}", f"{root}:amended", f"{root}:swapped")
            self._client.listen(channels, self._received)
            self._open = True

    def _received(self, message: bytes) -> None:
        """Wake the waiters that a message is for; all for b"", which says that some may have been missed."""
        if message != SWAPPED:
            self._notifier.notify()
        if message in (SWAPPED, b""):
            self._guards_notifier.notify()

    async def close(self) -> None:
        """Disconnect. Held jobs stay held until their lease lapses."""
        async with self._opening:
            self._open = False
            await self._stop()
            await self._client.close()
            self._notifier.notify()
            self._guards_notifier.notify()

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Hand out ready jobs; wait up to `wait` seconds for the first."""
        if self._free_waiters:
            waiter = self._free_waiters.pop()
        else:
            self._waiters += 1
            waiter = f"{self._name}:{self._waiters}"

        if holder.loads is not None and holder.loads is not self._loads_told.get(holder.id):
            await self._pass_on(holder, holder.loads, demand)

        async def look(left: float) -> Look[list[Delivery]]:
            name = waiter if left > 0 else ""
            request = ClaimRequest(demand, limit, holder.id, lease, self._last, name, self._kinds)
            reply = await self.claim_now(request)
            self._last = reply.last
            return Look(reply.deliveries, bool(reply.deliveries) or not self._open, reply.soon)

        try:
            return await look_until(look, notifier=self._notifier, timeout=wait, poll=POLL)
        finally:
            self._free_waiters.append(waiter)

    async def wait(self, ids: Sequence[str], timeout: float) -> list[JobRecord | None]:
        """Return the records as soon as all have ended or are unknown, or as they are after `timeout` seconds."""

        async def look(left: float) -> Look[list[JobRecord | None]]:
            if left > 0:
                await self.watch(self._name, ids)
            found = await self.get(ids)
            return Look(found, not self._open or all(each is None or each.state in TERMINAL for each in found))

        return await look_until(look, notifier=self._notifier, timeout=timeout, poll=POLL) if ids else []

    async def amended(self, since: int, timeout: float) -> int:
        """Return the number of operators' changes of schedules, once it is above `since` or after `timeout` seconds."""

        async def look(_: float) -> Look[int]:
            count = await self.schedule_changes()
            return Look(count, count > since or not self._open)

        return await look_until(look, notifier=self._notifier, timeout=timeout, poll=5 * POLL)

    async def guards_changed(self, since: int, timeout: float) -> int:
        """Return the number of changes of guards, once it is not `since` or after `timeout` seconds.

        It is lower after the server was flushed.
        """

        async def look(_: float) -> Look[int]:
            count = await self.guard_changes()
            return Look(count, count != since or not self._open)

        return await look_until(look, notifier=self._guards_notifier, timeout=timeout, poll=15 * POLL)

    @abstractmethod
    async def claim_now(self, request: ClaimRequest) -> ClaimReply:
        """Hand out the jobs that can run now. A cancelled call hands out none."""

    async def _pass_on(self, holder: Holder, loads: Mapping[str, Offer], demand: Mapping[str, int]) -> None:
        """Tell what the holder can do; the next claim tells again what was not stored."""
        try:
            await self.tell(holder, wanted(demand), [name for name, most in demand.items() if most <= 0])
        except StoreError as error:  # only the forecast suffers
            if not self._loads_failed:
                self._loads_failed = True
                _log.warning("what worker %s can do could not be stored: %s", holder.label or holder.id, error)
            return
        self._loads_failed = False
        self._loads_told[holder.id] = loads

    @abstractmethod
    async def tell(self, holder: Holder, queues: Sequence[str], attended: Sequence[str]) -> None:
        """Keep what a holder can do, and a sample of each of `queues`. attended: other queues that it can work for."""

    @abstractmethod
    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records, aligned with `ids`."""

    @abstractmethod
    async def watch(self, waiter: str, ids: Sequence[str]) -> None:
        """Have the server notify `waiter` when one of these jobs ends."""

    @abstractmethod
    async def schedule_changes(self) -> int:
        """Return the number of operators' changes of schedules."""

    @abstractmethod
    async def guard_changes(self) -> int:
        """Return the number of changes of guards."""

    @abstractmethod
    async def _start(self) -> None:
        """Open the keyspaces; the client is connected."""

    @abstractmethod
    async def _stop(self) -> None:
        """End the background tasks; the client is still connected."""

    def _set_kinds(self, kinds: tuple[str, ...]) -> None:
        """Let claims take parked jobs of these kinds, from now on."""
        if kinds:
            self._kinds = kinds
            self._notifier.notify()
