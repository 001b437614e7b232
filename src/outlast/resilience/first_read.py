"""How long the first calls of a guard wait for the state that all processes share."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from outlast.resilience.deadlines import remaining

__all__ = ["waited_blocking", "waited_for"]


async def waited_for(begun: Future[None], most: float) -> bool:
    """Wait for the state, at most `most` seconds, and not past the deadline around this line.

    Return whether no call has to wait any more; False: the deadline has ended the wait of this call alone.
    """
    left = remaining()
    try:
        async with asyncio.timeout(most if left is None else min(most, left)):
            await asyncio.shield(asyncio.wrap_future(begun))
    except TimeoutError:
        return left is None or left >= most
    return True


def waited_blocking(begun: Future[None], most: float) -> bool:
    """Wait as `waited_for` does, and block this thread meanwhile."""
    left = remaining()
    try:
        begun.result(most if left is None else min(most, left))
    except TimeoutError:
        return left is None or left >= most
    return True
