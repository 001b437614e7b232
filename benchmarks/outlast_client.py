"""What enqueues into Outlast in a benchmark, as a user would."""

from __future__ import annotations

from collections.abc import Sequence

from outlast import Job, Outlast

__all__ = ["OutlastClient", "Send"]

Send = Job[[int, str], None]


class OutlastClient:
    """Enqueues jobs of one kind."""

    def __init__(self, shop: Outlast, send: Send) -> None:
        self.shop = shop
        self.send = send

    async def open(self) -> None:
        """Connect, and build what is built at the first call."""
        await self.shop.__aenter__()
        self.send.message(0, "")

    async def close(self) -> None:
        """Close."""
        await self.shop.__aexit__(None, None, None)

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return await self.send.enqueue(user_id, email)

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue a batch in one step."""
        return await self.shop.enqueue_many(self.send.message(user_id, email) for user_id, email in batch)
