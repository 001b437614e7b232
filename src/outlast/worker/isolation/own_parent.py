"""Gives the process of a job that runs alone a parent of its own, so that the job cannot end the parent of others."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from typing import NoReturn

from outlast.aio.children import die_with_parent
from outlast.aio.signals import ignore_stops
from outlast.core.exitcodes import FAILED

__all__ = ["continue_in_fork"]


def continue_in_fork(fd: int) -> None:
    """Return in a fork of this process; this process closes `fd`, waits for the fork, and ends as it ended.

    Call it before there is a second thread. A job that kills its parent ends this process, and with it the fork: on
    Linux by the kernel, elsewhere by the worker, which kills the process group. That counts as the crash of the job. If
    the parent were the fork server, or the worker, the runs of other jobs would end too, and no crash could be counted
    for this job alone.
    Raise OSError when the system cannot fork.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(fd)  # else the worker would see the end of the socket only when this process ends
        _end_as(pid)
    ignore_stops()
    die_with_parent(parent)


def _end_as(pid: int) -> NoReturn:
    """End with the exit code of the child process, or by the signal that killed it."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else FAILED)
