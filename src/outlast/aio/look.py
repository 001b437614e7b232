"""Check a condition until it holds: at once, at each notification, and by a slow poll in case one was missed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, NamedTuple, TypeVar

from outlast.aio.notifier import Notifier

__all__ = ["AGAIN", "Look", "look_until"]

T = TypeVar("T")

AGAIN: Final = -1.0
"""`Look.soon`: look again at once, because one look did not cover all."""
_SHORTEST: Final = 0.001
"""Seconds between two looks, however soon something changes."""


class Look(NamedTuple, Generic[T]):
    """The result of one look. soon: seconds until it may change without a notification, None if it cannot."""

    found: T
    done: bool
    soon: float | None = None


async def look_until(
    look: Callable[[float], Awaitable[Look[T]]], *, notifier: Notifier, timeout: float, poll: float
) -> T:
    """Call `look(seconds left)` until it is done or `timeout` seconds have passed, at least once; return its `found`.

    poll: seconds after which to look again without a notification. Errors of `look` are raised.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout
    while True:
        seen = notifier.count
        found, done, soon = await look(deadline - clock())
        left = deadline - clock()
        if soon == AGAIN and not done:
            continue
        if done or left <= 0:
            return found
        await notifier.wait(seen, min(left, poll, poll if soon is None else max(soon, _SHORTEST)))
