"""Handlers that do not let go: of the loop, the GIL, a thread or their own time.

Their sleeps are what they do to the worker, or the time in which it has to end them; no test waits by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import threading
import time

from outlast import Context, Snooze
from tests.faults.hostile.declare import BLOCKED, ONCE, fails, overdue, way


@way(alone=True)
def blocks_the_loop() -> None:
    time.sleep(BLOCKED)


@way(alone=True)
def holds_the_lock_of_the_interpreter() -> None:
    ctypes.PyDLL(None).usleep(int(BLOCKED * 1e6))


@way(alone=True, mode="thread")
def holds_the_lock_of_the_interpreter_in_a_thread() -> None:
    ctypes.PyDLL(None).usleep(int(BLOCKED * 1e6))


@overdue()
def never_ends() -> None:
    while True:
        pass


@overdue()
async def swallows_its_cancellation() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@overdue()
def stops_its_process() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@fails("TimedOut", "timeout", timeout=0.5)
async def waits_too_long() -> None:
    await asyncio.sleep(60)


@way("timeout", error="TimedOut", retry=ONCE, timeout=0.5, mode="thread")
def waits_too_long_in_a_thread() -> None:
    time.sleep(5)


@way("timeout", error="TimedOut", retry=ONCE, timeout=10, mode="process")
def never_ends_in_a_child_process() -> None:
    while True:
        pass


@way("timeout", error="TimedOut", retry=ONCE, timeout=10, mode="process")
def stops_its_child_process() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@way()
def leaves_threads_that_never_end() -> None:
    for daemon in (True, False):
        threading.Thread(target=threading.Event().wait, daemon=daemon).start()


@way("cancelled", runs=0)
def snoozes_for_ever(ctx: Context) -> None:
    raise Snooze(0)
