"""Servers of several threads that are stopped: SIGSTOP is sent at once, and reaches the threads one by one."""

from __future__ import annotations

import os
import signal

import psutil

from tests.support.polling import until

__all__ = ["stand_still"]


async def stand_still(pid: int) -> None:
    """Send SIGSTOP to a server, and return when none of its threads runs: on a loaded host others answer meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    process = psutil.Process(pid)
    await until(lambda: process.status() == psutil.STATUS_STOPPED, "all its threads stand still")
