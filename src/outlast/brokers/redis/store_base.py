"""What the store on one server and the store on a Cluster share: opening, closing, and calls that wait."""

from __future__ import annotations

import asyncio
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
from outlast.core.message import TERMINAL, Delivery, Holder
from outlast.core.store.broker import Capabilities
from outlast.core.store.records import JobRecord

__all__ = ["BaseRedisStore"]

POLL: Final = 1.0
"""Seconds after which a call that waits looks again, in case a notification was missed."""


class BaseRedisStore(ABC):
    """A store at one address. One object, one event loop. Times are the server's."""

    def __init__(self, address: Address, *, clock: Clock, max_body: int) -> None:
        self._client = RedisClient(address)
        self._notifier = Notifier()
        self._max_body = max_body
        self._name = uuid4().hex
        """The server notifies this name of the ends of jobs, and names that begin with it of jobs to claim."""
        self._waiters = 0
        self._free_waiters: list[str] = []
        """Names of claims that wait no more: used again, for the server keeps each that it has not notified yet."""
        self._kinds: tuple[str, ...] = ()
        self._last = ""
        self._opening = asyncio.Lock()
        self._open = False
        subscribe: Callable[[Callable[[], None]], None] | None = getattr(clock, "subscribe", None)
        if subscribe is not None:
            subscribe(self._notifier.notify)

    @property
    def capabilities(self) -> Capabilities:
        """What this server can do, as it said when it was last connected to; before that its durability is unknown."""
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
            self._client.listen((f"{root}:bell:{self._name}", f"{root}:amended"), lambda _: self._notifier.notify())
            self._open = True

    async def close(self) -> None:
        """Let go of the server. What is held stays held until its lease lapses."""
        async with self._opening:
            self._open = False
            await self._stop()
            await self._client.close()
            self._notifier.notify()

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Hand out ready jobs; wait up to `wait` seconds for the first."""
        waiter = self._free_waiters.pop() if self._free_waiters else self._new_waiter()

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
        """Return how often schedules were changed, once that is above `since`, or after `timeout` seconds."""

        async def look(_: float) -> Look[int]:
            count = await self.schedule_changes()
            return Look(count, count > since or not self._open)

        return await look_until(look, notifier=self._notifier, timeout=timeout, poll=5 * POLL)

    @abstractmethod
    async def claim_now(self, request: ClaimRequest) -> ClaimReply:
        """Hand out what may run now. A call that is cancelled has handed out nothing."""

    @abstractmethod
    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records, aligned with `ids`."""

    @abstractmethod
    async def watch(self, waiter: str, ids: Sequence[str]) -> None:
        """Have the server notify `waiter` when one of these jobs ends."""

    @abstractmethod
    async def schedule_changes(self) -> int:
        """Return how often people changed a schedule."""

    @abstractmethod
    async def _start(self) -> None:
        """Prepare the keyspaces, once the client is connected."""

    @abstractmethod
    async def _stop(self) -> None:
        """End what runs in the background, while the client is still connected."""

    def _set_kinds(self, kinds: tuple[str, ...]) -> None:
        """Have claims take what is parked of these kinds, from now on."""
        if kinds:
            self._kinds = kinds
            self._notifier.notify()

    def _new_waiter(self) -> str:
        self._waiters += 1
        return f"{self._name}:{self._waiters}"
