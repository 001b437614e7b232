"""Claims over the queues of a Cluster: parallel requests that together return the jobs that core.select picks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import structs

from outlast.brokers.redis.claim import ClaimReply, ClaimRequest, repeat_until_done
from outlast.brokers.redis.claim_rounds import ClaimRound, claim_order, merged, next_shares
from outlast.brokers.redis.queue_directory import QueueDirectory
from outlast.core.errors import StoreError, StoreUnavailable
from outlast.core.message import Delivery
from outlast.core.settlement import Release

__all__ = ["ClusterClaim"]

PATIENCE: Final = 1.0
"""Seconds to wait for the answers of the other queues."""


class ClusterClaim:
    """The claims of one store. is_open: returns whether it is open; jobs not released by its end lapse.

    A queue whose server does not answer is left out until it answers; this is logged once per outage.
    """

    def __init__(self, queues: QueueDirectory, is_open: Callable[[], bool]) -> None:
        self._queues = queues
        self._is_open = is_open
        self._undoing: set[asyncio.Task[None]] = set()

    async def claim_now(self, request: ClaimRequest) -> ClaimReply:
        """Hand out the jobs that can run now; raise StoreError if no queue answers. A cancelled call hands out none."""
        requests: list[asyncio.Task[ClaimReply]] = []
        try:
            return await self._claim(request, requests)
        except StoreError:
            raise  # no queue handed out a job
        except BaseException:
            for task in requests:
                task.cancel()  # a running claim is undone by its queue; jobs of the ended ones are released by `_undo`
            undoing = asyncio.create_task(self._undo(requests), name="outlast-redis-undo")
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            raise

    async def close(self) -> None:
        """Wait until cancelled claims are undone, as far as the servers answer."""
        if self._undoing:
            await asyncio.gather(*self._undoing, return_exceptions=True)

    async def _claim(self, request: ClaimRequest, requests: list[asyncio.Task[ClaimReply]]) -> ClaimReply:
        demand = request.demand
        # Without a demand too a queue notes its consumer, and checks its leases: jobs of lapsed ones would stay held.
        idle = [name for name, most in demand.items() if most <= 0] if demand else await self._queues.names()
        attended = dict.fromkeys((name for name in idle if not self._queues.unavailable(name)), 0)
        order = claim_order(demand, request.last)
        order = [name for name in order if not self._queues.unavailable(name)] or order
        rounds: list[ClaimRound] = []
        while (shares := next_shares(order, rounds, demand, request.limit)) or attended:
            answers = await self._request(request, {**shares, **attended}, requests)
            attended = {}
            rounds.append(ClaimRound(shares, {name: answers[name] for name in shares}))
        return merged(order, rounds, request.last)

    async def _request(
        self, request: ClaimRequest, shares: Mapping[str, int], requests: list[asyncio.Task[ClaimReply]]
    ) -> dict[str, ClaimReply | StoreError]:
        """Request these shares from the queues, each in its own task; return the result or the error of each."""
        tasks = {
            name: asyncio.create_task(self._claim_one(structs.replace(request, demand={name: most}, limit=most), name))
            for name, most in shares.items()
        }
        requests += tasks.values()
        _, late = await asyncio.wait(tasks.values(), timeout=PATIENCE if len(tasks) > 1 else None)
        if late and all(task.exception() for task in tasks.values() if task not in late):
            await asyncio.wait(late)  # no other queue has jobs that would wait
        for task in late:
            task.cancel()  # its queue undoes the claim when the reply comes
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

    async def _claim_one(self, request: ClaimRequest, name: str) -> ClaimReply:
        if request.limit > 0:
            return await (await self._queues.used(name)).claim_now(request)
        store = await self._queues.known(name)  # a queue that is only attended is not made
        return ClaimReply([], request.last, None) if store is None else await store.claim_now(request)

    async def _undo(self, requests: list[asyncio.Task[ClaimReply]]) -> None:
        answers = await asyncio.gather(*requests, return_exceptions=True)
        # The deliveries of one answer are all of one queue.
        claimed = [answer.deliveries for answer in answers if isinstance(answer, ClaimReply) and answer.deliveries]
        await asyncio.gather(*map(self._release, claimed))

    async def _release(self, deliveries: Sequence[Delivery]) -> None:
        queue = deliveries[0].message.queue
        releases = [Release(each.fence, why="its claim was cancelled") for each in deliveries]

        async def release() -> None:
            await (await self._queues.used(queue)).settle(releases)

        await repeat_until_done(release, self._is_open, f"a cancelled claim of queue {queue!r}")
