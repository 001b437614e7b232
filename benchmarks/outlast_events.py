"""Outlast on the bridge: each job is a copy of an event, which RabbitMQ carries and the store keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks import counter
from outlast import Outlast

__all__ = ["client", "send", "shop"]

shop = Outlast("bench")
users = shop.exchange("users", type="topic")
Sent = dict[str, int | str]


@shop.job(queue="bench", on=users.binding("user.*.made"))
async def send(user: Sent) -> None:
    """The job."""
    counter.run(int(user["user_id"]), str(user["email"]))
    if counter.NAP:
        await asyncio.sleep(counter.NAP)


class EventClient:
    """Publishes events of one key."""

    async def open(self) -> None:
        """Connect, and build what is built at the first call."""
        await shop.__aenter__()
        users.event("user.eu.made", {"user_id": 0, "email": ""})

    async def close(self) -> None:
        """Close."""
        await shop.__aexit__(None, None, None)

    async def one(self, user_id: int, email: str) -> object:
        """Publish one event."""
        return await users.publish("user.eu.made", {"user_id": user_id, "email": email})

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Publish a batch in one step."""
        made = [users.event("user.eu.made", {"user_id": user_id, "email": email}) for user_id, email in batch]
        return await users.publish_many(made)


def client() -> EventClient:
    """Return what publishes."""
    return EventClient()
