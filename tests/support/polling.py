"""Waiting for what another process does, with a deadline: for conditions that nothing here can be told of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["until"]


async def until(look: Callable[[], Any], what: str, *, within: float = 90.0) -> Any:
    """Return the first true value of `look` (which may be async), asked every 20 ms; AssertionError past `within`."""
    end = time.monotonic() + within
    while True:
        found = look()
        value = await found if isinstance(found, Awaitable) else found
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {what}")
        await asyncio.sleep(0.02)
