"""Opens the supervisor's connection to the store, tells of its failures, and finds out whether the store was moved."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final

from outlast.core.clock import Clock
from outlast.core.errors import StoreError, StoreMoved, StoreUnavailable
from outlast.core.store.broker import QueueStats
from outlast.core.store.store import Store
from outlast.worker.store_link import StoreLink

__all__ = ["counts_of", "open_link", "still_in_place", "tell_failure"]

_logger = logging.getLogger("outlast.supervisor")
_PATIENCE: Final = 10.0
"""Seconds that a call to the store may take; after that it counts as hung."""


async def open_link(connect: Callable[[], Store], clock: Clock, rng: Random) -> StoreLink:
    """Return a link to the store, opened; wait for an outage to end."""
    while True:
        link = StoreLink(connect(), clock, rng, reconnect=connect, patience=_PATIENCE)
        with contextlib.suppress(StoreMoved):  # replaced in the moment in which it was opened
            await link.retry("open", lambda store: store.broker.open())
            return link


def counts_of(link: Callable[[], StoreLink | None]) -> Callable[[Sequence[str]], Awaitable[Mapping[str, QueueStats]]]:
    """Return a function that returns the counts of queues; it raises StoreError, also while there is no link."""

    async def counts(queues: Sequence[str]) -> Mapping[str, QueueStats]:
        found = link()
        if found is None:
            raise StoreUnavailable("the supervisor has no connection to the store")
        return await found.once(lambda store: store.broker.stats(queues))

    return counts


def tell_failure(failed: str, task: asyncio.Task[None]) -> None:
    """Log the error with which a task has ended, if one did: nothing awaits the task. failed: what was not done."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        known = isinstance(error, StoreError)
        _logger.error("%s: %s", failed, error if known else type(error).__name__, exc_info=None if known else error)


async def still_in_place(link: StoreLink) -> bool:
    """Return whether the file of the store was neither moved nor replaced; close the store otherwise."""
    with contextlib.suppress(StoreError):
        await link.once(lambda store: store.broker.stats(["outlast"]))  # only its error matters
    if link.moved is None:
        return True
    with contextlib.suppress(StoreError):
        await link.store.broker.close()
    return False
