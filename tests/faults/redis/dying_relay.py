"""A worker that dies beside its follow-ups: `python -m tests.faults.redis.dying_relay URL before|between`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from outlast.aio.clock import SystemClock
from outlast.brokers.redis.relay import Relay
from outlast.brokers.redis.store import store_at
from outlast.core.message import Holder, Message
from outlast.core.settlement import Finish
from tests.support.jobs import message

__all__ = ["FOLLOWERS", "follow_ups"]

FOLLOWERS = [f"to{n}" for n in range(12)]
"""Queues that each job of queue "from" has a follow-up in: enough of them to lie on every master."""


def follow_ups(id_: str, now: float) -> list[Message]:
    """Return the follow-ups of a job."""
    return [message(f"{queue}.after-{id_.partition('.')[2]}", now) for queue in FOLLOWERS]


async def die(*_: object) -> None:
    """End this process as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, where: str) -> None:
    """Claim all of queue "from" and settle it, with follow-ups; die when these are kept there, and

    before any has arrived in its queue, or between that and their removal.
    """
    Relay.check = lambda *_: None  # type: ignore[method-assign]
    if where == "before":
        Relay.move = die  # type: ignore[method-assign,assignment]
    clock = SystemClock()
    store = store_at(url, clock=clock)
    await store.open()
    given = await store.claim({"from": 100}, limit=100, holder=Holder("d" * 32), lease=10, wait=0)
    if where == "between":
        Relay._remove = die  # type: ignore[method-assign,assignment]
    await store.settle(
        [Finish(each.fence, "succeeded", then=follow_ups(each.message.id, clock.time())) for each in given]
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
