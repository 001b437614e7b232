"""Read through the cache: what is fresh at once, what is stale while a new value is computed, else one computation."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from outlast.core.guards.policies import Bulkhead
from outlast.core.toolkit_errors import ToolkitAway
from outlast.meters import meters
from outlast.resilience.guard import Guard
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.access import CacheAccess
from outlast.toolkit.cache.flights import CacheRequest, Flight, Flights, Made, Outcome, Stored
from outlast.toolkit.cache.near import NearCopies
from outlast.toolkit.cache.rule import CacheLimits, is_early, may_be_early, rng
from outlast.toolkit.cache.shared_looks import SharedLooks
from outlast.toolkit.cache.store import Seen
from outlast.toolkit.cache.values import UnreadableBody

__all__ = ["CacheReading"]


class CacheReading:
    """Reads through the cache, for all event loops of a process."""

    def __init__(self, toolkit: Toolkit, limits: CacheLimits) -> None:
        self.access: Final = CacheAccess(toolkit, limits.max_bytes)
        self.limits: Final = limits
        self.near: Final = NearCopies(toolkit.clock.monotonic)
        bulkhead = Bulkhead(limits.concurrency, max_wait=limits.max_wait, max_waiting=limits.max_waiting)
        self._looks: Final = SharedLooks(self._look)
        self._flights = Flights(self.access, Guard("cache", bulkhead=bulkhead), limits.lease)

    async def read(self, request: CacheRequest) -> Any:
        """Return the value: kept, or computed. Raise what the computation raises; BulkheadFull without the store."""
        unreadable = ""
        try:
            while True:
                flight = self._flights.of(request.key)
                if flight is None or flight.behind or flight.started:
                    found = await self._looked(
                        request, flight if flight is not None and flight.started else None, unreadable
                    )
                else:
                    request.result = request.reads.joined
                    found = await self._joined(request, flight)
                if isinstance(found, Made):
                    return await self._made(request, found)
                if found is not None:
                    try:
                        return request.packing.unpacked(found.entry.body)
                    except UnreadableBody:
                        unreadable = found.entry.id
        finally:
            meters.numbers[request.result.at] += 1.0  # as `CountSeries.add`, whose call would take 1% of a hit

    async def _joined(self, request: CacheRequest, flight: Flight) -> Outcome:
        """Return the outcome of a computation; note whether it is an old value."""
        found = await self._flights.join(flight)
        if isinstance(found, Stored) and found.entry.left <= 0:
            request.result = request.reads.stale
        return found

    async def _made(self, request: CacheRequest, found: Made) -> Any:
        """Return a computed value. Each caller has one of its own, which it may change."""
        if found.request is request:
            return found.value
        if not found.shared:
            return await request.compute()
        return found.value if found.body is None else request.packing.unpacked(found.body)

    async def _looked(self, request: CacheRequest, before: Flight | None, unreadable: str) -> Outcome:
        """Look into the store; take the entry, or join or start a computation.

        before: the computation that had begun before the call.
        """
        rule = request.rule
        try:
            if rule.near:
                seen, joinable = await self._checked(request.key, await self._look_and_copy(request))
            else:
                seen, joinable = await self._looks.look(request.key)
            entry = seen.entry
            if entry is not None and entry.left > -rule.stale and entry.id != unreadable:
                left, cost, early = entry.left, entry.cost, rule.early
                if left <= 0 or (may_be_early(left, cost, early) and is_early(left, cost, early, rng.random())):
                    self._refresh(request, seen)
                request.result = request.reads.hit if left > 0 else request.reads.stale
                return Stored(entry, 0)
            flight = self._flights.of(request.key)
            if flight is before and flight is not joinable:
                flight = None
        except ToolkitAway:
            request.without_store()
            flight = self._flights.of(request.key)
            if flight is None or flight.started:
                flight = self._flights.start(request, "", away=True)
            return await self._joined(request, flight)
        # One that was started since the call computes what the source holds after the call: it serves.
        request.result = request.reads.miss if flight is None else request.reads.joined
        return await self._joined(request, flight or self._flights.start(request, seen.past))

    async def _look(self, key: str) -> tuple[Seen, Flight | None]:
        seen = await self.access.look(key)
        if seen.entry is not None and seen.entry.left > 0:
            return seen, None
        return await self._checked(key, seen)

    async def _checked(self, key: str, seen: Seen) -> tuple[Seen, Flight | None]:
        """Return what was seen, and the computation that those may join who asked before. Raise ToolkitAway."""
        flight = self._flights.of(key)
        if flight is None or not flight.started or not await self._flights.may_join(flight, seen):
            return seen, None
        return seen, flight

    async def _look_and_copy(self, request: CacheRequest) -> Seen:
        """Look into the store, and copy what is there while the store tells of changes."""
        near = self.near
        if not near.on:
            if near.possible:
                await self.access.track(near)
            return await self.access.look(request.key)
        read = near.begin(request.key)
        try:
            seen = await self.access.look(request.key)
            if seen.entry is not None:
                with suppress(UnreadableBody):
                    near.keep(read, request.key, seen.entry, request.packing, request.rule.near)
            return seen
        finally:
            near.end(read, request.key)

    def _refresh(self, request: CacheRequest, seen: Seen) -> None:
        """Compute in the background, unless that is under way."""
        if not seen.lease and self._flights.of(request.key) is None:
            self._flights.start(request, seen.past, behind=True)
