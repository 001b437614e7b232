"""Start tasks at once where Python supports it, cancel tasks together, and wait for work with a limit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

__all__ = ["cancel", "ended_within", "spawn"]

_Work = Coroutine[Any, Any, Any]

if sys.version_info >= (3, 12):

    def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` in a task of the running loop, up to its first wait at once: one without waits ends at once."""
        return asyncio.Task(work, loop=asyncio.get_running_loop(), name=name, eager_start=True)

else:

    def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` in a task of the running loop. A task with a name and without a factory costs a third less."""
        return asyncio.Task(work, loop=asyncio.get_running_loop(), name=name)


async def cancel(*tasks: asyncio.Future[Any]) -> list[Any]:
    """Cancel the tasks and wait until all have ended; return the result or the exception of each."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def ended_within(seconds: float | None, work: _Work, *interrupts: _Work) -> bool:
    """Wait until `work` or an interrupt ends, or `seconds` have passed; cancel the rest. Return whether `work` ended.

    seconds: None is no limit.
    """
    tasks = [asyncio.ensure_future(each) for each in (work, *interrupts)]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].done()
    finally:
        await cancel(*tasks)
