"""Outlast at its defaults: one job on one queue, and its producer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks import counter
from outlast import Outlast

__all__ = ["client", "send", "shop"]

shop = Outlast("bench")


@shop.job(queue="bench")
async def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        await asyncio.sleep(counter.NAP)


class OutlastClient:
    """Enqueues as a user would."""

    async def open(self) -> None:
        """Connect, and build what is built at the first call."""
        await shop.__aenter__()
        send.message(0, "")

    async def close(self) -> None:
        """Close."""
        await shop.__aexit__(None, None, None)

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return await send.enqueue(user_id, email)

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue a batch in one step."""
        return await shop.enqueue_many(send.message(user_id, email) for user_id, email in batch)


def client() -> OutlastClient:
    """Return what enqueues."""
    return OutlastClient()
