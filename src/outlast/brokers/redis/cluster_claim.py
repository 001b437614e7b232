"""Claims over the queues of a Cluster: all are asked at the same time, and give what core.select would have picked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import structs

from outlast.brokers.redis.claim import ClaimReply, ClaimRequest
from outlast.brokers.redis.claim_rounds import ClaimRound, claim_order, merged, next_shares
from outlast.brokers.redis.queue_directory import QueueDirectory
from outlast.core.errors import StoreError, StoreUnavailable
from outlast.core.settlement import Release

__all__ = ["ClusterClaim"]

_log = logging.getLogger("outlast.redis")

PATIENCE: Final = 1.0
"""Seconds that queues which have answered wait for one that has not."""
RETRY: Final = 0.25
"""Seconds between two attempts to give back."""


class ClusterClaim:
    """Claims of one store object. is_open: whether it still is; what it did not give back by its end lapses.

    A queue whose server does not answer is left out until it does, and that is logged once per outage.
    """

    def __init__(self, queues: QueueDirectory, is_open: Callable[[], bool]) -> None:
        self._queues = queues
        self._is_open = is_open
        self._undoing: set[asyncio.Task[None]] = set()

    async def claim_now(self, request: ClaimRequest) -> ClaimReply:
        """Hand out what may run now; raise StoreError when no queue answers. A call that is cancelled has handed out
        nothing.
        """
        asking: list[asyncio.Task[ClaimReply]] = []
        try:
            return await self._claim(request, asking)
        except StoreError:
            raise  # no queue has given anything
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

    async def _claim(self, request: ClaimRequest, asking: list[asyncio.Task[ClaimReply]]) -> ClaimReply:
        demand = request.demand
        # A queue that is asked for nothing looks at leases all the same; and so do all queues when none is named.
        silent = [name for name, most in demand.items() if most <= 0] if demand else await self._queues.names()
        if silent:
            await self._ask(request, dict.fromkeys(silent, 0), asking)
        order = claim_order(demand, request.last)
        order = [name for name in order if not self._queues.away(name)] or order
        rounds: list[ClaimRound] = []
        while shares := next_shares(order, rounds, demand, request.limit):
            rounds.append(ClaimRound(shares, await self._ask(request, shares, asking)))
        return merged(order, rounds, request.last)

    async def _ask(
        self, request: ClaimRequest, shares: Mapping[str, int], asking: list[asyncio.Task[ClaimReply]]
    ) -> dict[str, ClaimReply | StoreError]:
        """Ask each of these queues for so many, with a task of its own; return what it gave or raised."""
        tasks = {
            name: asyncio.create_task(self._ask_one(structs.replace(request, demand={name: most}, limit=most), name))
            for name, most in shares.items()
        }
        asking += tasks.values()
        _, late = await asyncio.wait(tasks.values(), timeout=PATIENCE if len(tasks) > 1 else None)
        if late and all(task.exception() for task in tasks.values() if task not in late):
            await asyncio.wait(late)  # no other queue waits for them
        for task in late:
            task.cancel()  # what it hands out is taken back, when it answers
        if late:
            await asyncio.wait(late)
        answers: dict[str, ClaimReply | StoreError] = {}
        for name, task in tasks.items():
            error = StoreUnavailable(f"no answer within {PATIENCE:g} s") if task.cancelled() else task.exception()
            if error is None:
                answers[name] = task.result()
                self._queues.record_answer(name)
            elif isinstance(error, StoreError):
                answers[name] = error
                self._queues.record_error(name, error)
            else:
                raise error
        return answers

    async def _ask_one(self, request: ClaimRequest, name: str) -> ClaimReply:
        return await (await self._queues.used(name)).claim_now(request)

    async def _undo(self, asking: list[asyncio.Task[ClaimReply]]) -> None:
        answers = await asyncio.gather(*asking, return_exceptions=True)
        deliveries = [each for answer in answers if isinstance(answer, ClaimReply) for each in answer.deliveries]
        by_queue: dict[str, list[Release]] = {}
        for each in deliveries:
            by_queue.setdefault(each.message.queue, []).append(Release(each.fence, why="its claim was cancelled"))
        await asyncio.gather(*(self._give_back(*each) for each in by_queue.items()))

    async def _give_back(self, queue: str, releases: list[Release]) -> None:
        while True:
            try:
                await (await self._queues.used(queue)).settle(releases)
                return
            except StoreError as error:
                if not isinstance(error, StoreUnavailable):
                    _log.warning(
                        "what a cancelled claim of queue %r handed out is not given back yet: %s", queue, error
                    )
                if not self._is_open():
                    return
                await asyncio.sleep(RETRY)
