"""One computation for all who miss a key: in this process they join it, and other processes wait for its lease."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from secrets import token_hex
from typing import Any, Final

from msgspec import Struct

from outlast.aio.notifier import Notifier
from outlast.aio.tasks import cancel
from outlast.core.errors import DeadlinePassed, OutlastError
from outlast.core.toolkit_errors import ToolkitAway
from outlast.resilience.deadlines import ends_at, remaining, restore
from outlast.resilience.guard import Guard
from outlast.toolkit.cache.access import CacheAccess
from outlast.toolkit.cache.rule import CacheRule, rng
from outlast.toolkit.cache.store import Begun, CacheDraft, CacheEntry, Seen, Versions
from outlast.toolkit.cache.values import ValuePacking
from outlast.toolkit.metrics import CacheReads, degraded

__all__ = ["CacheRequest", "Flight", "Flights", "Made", "Outcome", "Stored"]

_log = logging.getLogger("outlast.toolkit")

POLL: Final = 0.5
"""Seconds after which a waiter looks without a notification: the holder of the lease may have been killed."""
FEW: Final = 8
"""Keys that may wait for other processes and look at each notification."""
SPREAD: Final = 0.0005
"""Seconds for each key that waits, by which all of them look later: so they look some 2,000 times a second at most."""
PAUSE: Final = 1.0
"""Seconds after a failed refresh in the background until the next one: meanwhile the old value is in use."""


class CacheRequest:
    """A request for a value. key: as the store has it. compute: makes it.

    keep: whether a value may be kept and given to others, None for yes. reads: where it is counted, once, as `result`.
    """

    __slots__ = ("compute", "keep", "key", "packing", "reads", "result", "rule", "tags")

    def __init__(  # noqa: PLR0917 - keywords would cost a hit 2% more
        self,
        key: str,
        tags: tuple[str, ...],
        rule: CacheRule,
        packing: ValuePacking,
        compute: Callable[[], Awaitable[Any]],
        reads: CacheReads,
        *,
        keep: Callable[[Any], bool] | None = None,
    ) -> None:
        self.key = key
        self.tags = tags
        self.rule = rule
        self.packing = packing
        self.compute = compute
        self.keep = keep
        self.reads = reads
        self.result = reads.miss

    def without_store(self) -> None:
        """Count it as one for which the store was away."""
        self.result = self.reads.away
        AWAY["source"].add()


AWAY: Final = degraded("cache", "source", "default", "not-kept", "raised")
"""Reads that went to the source or returned their default, values that were not kept, and errors."""


class Made(Struct, frozen=True):
    """A value was computed. body: its bytes, None when it is not kept. shared: others than `request` may have it."""

    value: Any
    body: bytes | None
    shared: bool
    request: CacheRequest


class Stored(Struct, frozen=True):
    """An entry was found. mark: callers that joined later than this one asked after it was read."""

    entry: CacheEntry
    mark: int


Outcome = Made | Stored | None
"""None: nothing was found for this caller, who looks again."""


class Flight:
    """The computation of one key in one event loop, from the wish for its lease to its end.

    started: the value is being computed. Who comes before that may join: what is computed is read from the source after
    they came. Who comes later may join only while the lease is held and the tags are the same: else an invalidation
    came between.
    """

    __slots__ = ("behind", "id", "joined", "request", "started", "tags", "task", "waiting")

    def __init__(self, request: CacheRequest, *, behind: bool) -> None:
        self.id: Final = token_hex(8)
        self.request = request
        self.behind = behind
        self.started = False
        self.tags: Versions = {}
        self.joined = 0
        self.waiting = 0
        self.task: asyncio.Task[Outcome]

    def compute(self) -> Awaitable[Any]:
        """Begin to compute."""
        self.started = True
        return self.request.compute()


_Key = tuple[asyncio.AbstractEventLoop, str]


class Flights:
    """The computations that are under way in this process. source: the guard of the source while the store is away."""

    def __init__(self, access: CacheAccess, source: Guard, lease: float) -> None:
        self._access = access
        self._source = source
        self._lease = lease
        self._waiting = 0
        self._flights: dict[_Key, Flight] = {}

    def of(self, key: str) -> Flight | None:
        """Return the computation of a key that is under way in the running loop."""
        if not self._flights:
            return None
        flight = self._flights.get((asyncio.get_running_loop(), key))
        # One that is done is removed in a later turn of the loop: who joins it until then would look again for ever.
        return None if flight is None or flight.task.done() else flight

    async def may_join(self, flight: Flight, seen: Seen) -> bool:
        """Return whether a value that is being computed will not be older than what was seen. Raise ToolkitAway."""
        if flight.id != seen.lease:
            return False
        return not flight.tags or await self._access.versions(tuple(flight.tags)) == flight.tags

    def start(self, request: CacheRequest, past: str, *, behind: bool = False, away: bool = False) -> Flight:
        """Start a computation. past: the id of the entry that does not serve. behind: it refreshes that entry."""
        flight = Flight(request, behind=behind)
        key = (asyncio.get_running_loop(), request.key)
        self._flights[key] = flight
        work = self._from_source(flight) if away else self._made(flight, past)
        flight.task = asyncio.create_task(work, name="outlast-cache")
        flight.task.add_done_callback(lambda task: self._ended(key, flight, task))
        return flight

    async def join(self, flight: Flight) -> Outcome:
        """Return the outcome for one more caller, None when it was not for this one. Raise what the computation raises.

        A caller that is cancelled leaves the computation to the others; without any it is cancelled.
        """
        flight.joined += 1
        flight.waiting += 1
        number = flight.joined
        try:
            outcome = await asyncio.shield(flight.task)
        except DeadlinePassed:
            left = remaining()
            if number > 1 and (left is None or left > 0):
                return None  # it was the deadline of another caller
            raise
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget((asyncio.get_running_loop(), flight.request.key), flight)
                flight.task.cancel()
        if isinstance(outcome, Stored) and outcome.mark < number:
            return None
        return outcome

    def _forget(self, key: _Key, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _ended(self, key: _Key, flight: Flight, task: asyncio.Task[Outcome]) -> None:
        self._forget(key, flight)
        if not task.cancelled() and (error := task.exception()) is not None and not flight.joined:
            _log.warning(
                "cache: the refresh of %s in the background failed: %s: %s", key[1], type(error).__name__, error
            )

    # The computation

    async def _made(self, flight: Flight, past: str) -> Outcome:
        try:
            begun = await self._begun(flight, past)
        except ToolkitAway:
            flight.request.without_store()
            return await self._from_source(flight)
        if not isinstance(begun, Begun):
            return begun
        flight.tags = begun.tags
        request, access = flight.request, self._access
        began = access.clock.monotonic()
        try:
            value, body, fresh = await self._kept_alive(flight)
        except Exception:
            older = await self._older(flight)
            if flight.behind and not flight.waiting:
                await self._let_go(access.renew(request.key, flight.id, PAUSE))
            else:
                await self._let_go(access.abandon(request.key, flight.id))
            if older is not None:
                return older
            raise
        except BaseException:
            await self._let_go(access.abandon(request.key, flight.id))
            raise
        if body is None or fresh is None:
            await self._let_go(access.abandon(request.key, flight.id))
        else:
            cost = access.clock.monotonic() - began
            draft = CacheDraft(flight.id, body, fresh, request.rule.kept(fresh), cost, flight.tags)
            await self._let_go(access.finish(request.key, draft))
        return Made(value, body, request.keep is None or request.keep(value), request)

    async def _begun(self, flight: Flight, past: str) -> Begun | Outcome:
        """Take the lease, or wait for the value of its holder. Raise ToolkitAway."""
        request, notifier, count = flight.request, None, 0
        kept = request.rule.kept(max(request.rule.ttl, request.rule.none or 0.0)) + self._lease
        while True:
            mark = flight.joined
            if notifier is not None:
                count = notifier.count
            try:
                begun = await self._access.begin(
                    request.key, flight.id, request.tags, lease=self._lease, kept=kept, past=past
                )
            except asyncio.CancelledError:
                await self._let_go(self._access.abandon(request.key, flight.id))
                raise
            if begun.led:
                return begun
            seen = begun.seen
            if seen.entry is not None and seen.past != past and seen.entry.left > -request.rule.stale:
                return Stored(seen.entry, mark)
            if flight.behind and not flight.waiting:
                return None
            if not seen.lease:  # one that an invalidation of its tag made dead
                past = seen.past
            elif notifier is None:
                notifier = await self._access.ended()
            else:
                await self._notified(notifier, count)

    async def _notified(self, notifier: Notifier, count: int) -> None:
        """Return when a computation of any key has ended, later the more keys wait: each of them looks then."""
        self._waiting += 1
        try:
            await notifier.wait(count, POLL)
            if self._waiting > FEW:
                await asyncio.sleep(min(POLL, self._waiting * SPREAD))
        finally:
            self._waiting -= 1

    async def _kept_alive(self, flight: Flight) -> tuple[Any, bytes | None, float | None]:
        """Compute the value while its lease is renewed; return it, its bytes, and how long it is fresh."""
        loop, renewing = asyncio.get_running_loop(), list[asyncio.Task[None]]()

        def renew() -> None:
            # Outside the context of the first caller: its deadline is not that of the others.
            task = loop.create_task(self._renew(flight), name="outlast-cache-lease", context=Context())
            renewing.append(task)

        timer = loop.call_later(self._lease / 3, renew)
        try:
            return self._packed(flight.request, await _own(flight))
        finally:
            timer.cancel()
            await cancel(*renewing)

    def _packed(self, request: CacheRequest, value: Any) -> tuple[Any, bytes | None, float | None]:
        if request.keep is not None and not request.keep(value):
            return value, None, None
        value, body = request.packing.packed(value)
        fresh = request.rule.fresh(value, rng.random)
        if body is None and fresh is not None:
            _log.warning("cache: the value of %s is larger than max_value and is not kept", request.key)
        return value, body, fresh

    async def _renew(self, flight: Flight) -> None:
        """Renew the lease until it is lost: then others may compute, and this value will not be kept."""
        held = True
        while held:
            with suppress(ToolkitAway):
                held = await self._access.renew(flight.request.key, flight.id, self._lease)
            await asyncio.sleep(self._lease / 3)

    async def _older(self, flight: Flight) -> Stored | None:
        """Return the entry that serves when the computation fails; read now, so that it was not invalidated."""
        request, mark = flight.request, flight.joined
        if not request.rule.stale_on_error:
            return None
        with suppress(ToolkitAway):
            entry = (await self._access.look(request.key)).entry
            if entry is not None and entry.left > -request.rule.stale_on_error:
                return Stored(entry, mark)
        return None

    async def _from_source(self, flight: Flight) -> Outcome:
        """Compute without the store, few at a time. Raise BulkheadFull. What is computed is checked and not kept."""
        request = flight.request
        value, body, _ = self._packed(request, await self._source.call(_own, flight))
        return Made(value, body, request.keep is None or request.keep(value), request)

    async def _let_go(self, call: Awaitable[object]) -> None:
        """Await a call that only saves work: without it the lease ends by itself, and the value is not kept.

        It is for others too, who would wait for the lease: the deadline of this caller does not bound it.
        """
        before = ends_at(None)
        try:
            await call
        except ToolkitAway:
            pass
        finally:
            restore(before)


async def _own(flight: Flight) -> Any:
    """Compute the value. A computation that cancels itself is an error: callers must not take it for their end."""
    try:
        return await flight.compute()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise OutlastError(f"cache: the computation of {flight.request.key} was cancelled by its own code") from error
