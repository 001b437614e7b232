"""Looks at the jobs behind a URL for the doctor, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from outlast.brokers.redis.store import store_at
from outlast.core.clock import Clock

__all__ = ["waiting_kinds"]


async def waiting_kinds(url: str, clock: Clock, queues: Iterable[str]) -> dict[tuple[str, str], int]:
    """Return how many unfinished jobs there are by (queue, kind); reads each, a thousand a look. Raise StoreError."""
    store = store_at(url, clock=clock)
    try:
        await store.open()
        return {(queue, kind): n for queue in queues for kind, n in (await store.kinds(queue)).items()}
    finally:
        await store.close()
