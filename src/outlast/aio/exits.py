"""Ends a process in bounded time, whatever its threads and tasks still do."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from time import sleep
from typing import Any, Final

__all__ = ["closed_within", "exit_within"]

_FLUSH: Final = 1.0
"""Seconds that the handlers of the log have to write what they hold."""


def exit_within(seconds: float, code: int) -> None:
    """End this process with `code` after so many seconds, and one for the log, if it has not ended by then."""
    threading.Thread(target=_exit, args=(seconds, code), name="outlast-exit", daemon=True).start()


def _exit(seconds: float, code: int) -> None:
    sleep(seconds)
    # In a thread: a handler of the log may raise, or wait for ever for a lock that a stuck thread holds.
    flushing = threading.Thread(target=logging.shutdown, name="outlast-flush", daemon=True)
    flushing.start()
    flushing.join(_FLUSH)
    os._exit(code)


async def closed_within(seconds: float, closing: Coroutine[Any, Any, None]) -> bool:
    """Await `closing` for so many seconds; return whether it ended. Raise what it raises.

    It is not cancelled after that: the close of a file that another process has locked waits for its thread all the
    same. End the process then.
    """
    task = asyncio.ensure_future(closing)
    await asyncio.wait((task,), timeout=seconds)
    if task.done():
        task.result()
    return task.done()
