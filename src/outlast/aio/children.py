"""Child processes: seen dead at once, killed with all they started, and never outliving their parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

__all__ = [
    "Child",
    "die_with_parent",
    "how_ended",
    "kill_group",
    "kill_session",
    "named_directory",
    "resident_bytes",
]

_PR_SET_PDEATHSIG: Final = 1


class Child:
    """A started `python -m MODULE CONFIG`, and `sock`, the socket to it.

    `dead` is set, on the loop that started it, as soon as the process has ended.
    """

    def __init__(
        self,
        module: str,
        config: Callable[[int], bytes],
        *,
        fds: Sequence[int] = (),
        own_session: bool = False,
        directory: str | None = None,
    ) -> None:
        """Start it with these descriptors, and lead a process group, or with `own_session` a session.

        config: makes the text from the number of its end's descriptor. directory: where it works, None for the
        caller's own. Raise OSError.
        """
        self.sock, theirs = socket.socketpair()
        with theirs:
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", module, config(theirs.fileno()).decode()],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(*fds, theirs.fileno()),
                    cwd=directory,
                    start_new_session=own_session,
                    process_group=None if own_session else 0,
                )
            except OSError:
                self.sock.close()
                raise
        self.pid = self.process.pid
        self.dead = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # A thread and not SIGCHLD: that belongs to the main thread and to whoever else starts processes.
        threading.Thread(target=self._wait, name=f"outlast-wait-{self.pid}", daemon=True).start()

    @property
    def code(self) -> int | None:
        """Its exit code, negative the signal that killed it, None while it lives."""
        return self.process.returncode

    @property
    def lost(self) -> bool:
        """Whether its death says nothing about what it did: never, for one that we started ourselves."""
        return False

    def kill(self) -> None:
        """Kill the process group that it leads."""
        kill_group(self.pid)

    def _wait(self) -> None:
        self.process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody asks any more
            self._loop.call_soon_threadsafe(self.dead.set)


def how_ended(code: int | None) -> str:
    """Return a process's exit code in words."""
    if code is None:
        return "unknown"
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def named_directory() -> str | None:
    """Return the working directory by the name that the shell has for it, None when there is no such name.

    A process stays in the directory that it was started in: where "/srv/shop/current" leads to another release later,
    only its name finds that.
    """
    name = os.environ.get("PWD", "")
    try:
        return name if Path(name).is_absolute() and Path(name).samefile(".") else None
    except OSError:
        return None


def kill_group(pid: int) -> None:
    """Kill the process group that `pid` leads; no error when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_session(pid: int) -> None:
    """Kill everything in the session that `pid` leads: its own group, and on Linux every other group."""
    kill_group(pid)
    for entry in Path("/proc").glob("[0-9]*/stat") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            # "pid (name) state ppid pgrp session ...": the name may hold spaces and brackets
            session = int(entry.read_text().rpartition(")")[2].split()[3])
            if session == pid:
                os.kill(int(entry.parent.name), signal.SIGKILL)


def die_with_parent(parent: int) -> None:
    """On Linux, be killed when the thread that started this process ends; end now if that has happened already."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds, 0 where that cannot be told."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
