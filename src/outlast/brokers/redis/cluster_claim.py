"""Claims over queues that lie apart: all are asked at the same time, and give what core.select would have picked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import structs

from outlast.brokers.redis.delivery import Asked, Given
from outlast.brokers.redis.fair_shares import share_out
from outlast.brokers.redis.queue_directory import QueueDirectory
from outlast.brokers.redis.relay import Relay
from outlast.core.errors import StoreError, StoreUnavailable
from outlast.core.message import Delivery
from outlast.core.settlement import Release

__all__ = ["ClusterClaim"]

_log = logging.getLogger("outlast.redis")

PATIENCE: Final = 1.0
"""Seconds that queues which have answered wait for one that has not."""
AGAIN: Final = 0.25
"""Seconds between two attempts to give back."""


class ClusterClaim:
    """Claims of one store object. is_open: whether it still is; what it did not give back by its end lapses.

    A queue whose server does not answer is left out until it does, and said once; when no queue answers that is raised.
    """

    def __init__(self, parts: QueueDirectory, relay: Relay, is_open: Callable[[], bool]) -> None:
        self._parts = parts
        self._relay = relay
        self._is_open = is_open
        self._undoing: set[asyncio.Task[None]] = set()

    async def claim(self, asked: Asked) -> Given:
        """Claim. A call that is cancelled has handed out nothing."""
        asking: list[asyncio.Task[Given]] = []
        try:
            return await self._claim(asked, asking)
        except StoreError:
            raise  # nobody has given anything
        except BaseException:
            for task in asking:
                task.cancel()  # what it hands out is taken back; and what others have, is given back
            undoing = asyncio.create_task(self._undo(asking), name="outlast-redis-undo")
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            raise

    async def close(self) -> None:
        """Return when what can be given back has been."""
        if self._undoing:
            await asyncio.gather(*self._undoing, return_exceptions=True)

    async def _claim(self, asked: Asked, asking: list[asyncio.Task[Given]]) -> Given:
        # One that is asked for nothing looks at leases all the same; and so do all of them when none is named.
        silent = (
            [name for name, most in asked.demand.items() if most <= 0] if asked.demand else await self._parts.names()
        )
        if silent:
            await self._ask(asked, dict.fromkeys(silent, 0), asking)
        names = sorted(name for name, most in asked.demand.items() if most > 0)
        behind = sum(name <= asked.last for name in names)
        ring = [*names[behind:], *names[:behind]]
        going = [name for name in ring if not self._parts.away(name)] or ring
        found: dict[str, list[Delivery]] = {name: [] for name in going}
        errors: list[StoreError] = []
        soon: list[float] = []
        left = asked.limit
        # As many rounds as there are queues that give less than their share: what they leave goes to the others.
        while left > 0 and going:
            counts = {name: len(found[name]) for name in going}
            asks = share_out(left, counts, asked.demand)
            if not asks:
                break
            for name, told in (await self._ask(asked, asks, asking)).items():
                if isinstance(told, StoreError):
                    errors.append(told)
                elif told.soon is not None:
                    soon.append(told.soon)
                if isinstance(told, StoreError) or len(told.deliveries) < asks[name]:
                    going.remove(name)
                if isinstance(told, Given):
                    found[name] += told.deliveries
                    left -= len(told.deliveries)
        if len(errors) == len(found) and errors and not any(found.values()):
            raise errors[0]  # else one that failed in a later round has given something before
        self._relay.look_at(found)
        turns = max(map(len, found.values()), default=0)
        deliveries = [some[turn] for turn in range(turns) for some in found.values() if turn < len(some)]
        last = deliveries[-1].message.queue if deliveries else asked.last
        return Given(deliveries, last, min(soon, default=None))

    async def _ask(
        self, asked: Asked, asks: Mapping[str, int], asking: list[asyncio.Task[Given]]
    ) -> dict[str, Given | StoreError]:
        """Ask each of these queues for so many, with a task of its own; return what it gave or raised."""
        tasks = {
            name: asyncio.create_task(self._ask_one(structs.replace(asked, demand={name: most}, limit=most), name))
            for name, most in asks.items()
        }
        asking += tasks.values()
        _, late = await asyncio.wait(tasks.values(), timeout=PATIENCE if len(tasks) > 1 else None)
        if late and all(task.exception() for task in tasks.values() if task not in late):
            await asyncio.wait(late)  # there is nobody who would have to wait for them
        for task in late:
            task.cancel()  # what it hands out is taken back, when it answers
        if late:
            await asyncio.wait(late)
        told: dict[str, Given | StoreError] = {}
        for name, task in tasks.items():
            error = StoreUnavailable(f"no answer within {PATIENCE:g} s") if task.cancelled() else task.exception()
            if error is None:
                told[name] = task.result()
                self._parts.found(name)
            elif isinstance(error, StoreError):
                told[name] = error
                self._parts.lost(name, error)
            else:
                raise error
        return told

    async def _ask_one(self, asked: Asked, name: str) -> Given:
        return await (await self._parts.used(name)).claim(asked)

    async def _undo(self, asking: list[asyncio.Task[Given]]) -> None:
        told = await asyncio.gather(*asking, return_exceptions=True)
        deliveries = [each for given in told if isinstance(given, Given) for each in given.deliveries]
        by_queue: dict[str, list[Release]] = {}
        for each in deliveries:
            by_queue.setdefault(each.message.queue, []).append(Release(each.fence, why="its claim was cancelled"))
        await asyncio.gather(*(self._give_back(*each) for each in by_queue.items()))

    async def _give_back(self, queue: str, releases: list[Release]) -> None:
        while True:
            try:
                await (await self._parts.used(queue)).settle(releases)
                return
            except StoreError as error:
                if not isinstance(error, StoreUnavailable):
                    _log.warning(
                        "what a cancelled claim of queue %r handed out is not given back yet: %s", queue, error
                    )
                if not self._is_open():
                    return
                await asyncio.sleep(AGAIN)
