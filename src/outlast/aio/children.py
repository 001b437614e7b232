"""Child processes: detect their end at once, kill them with all they started, end them with their parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

__all__ = [
    "Child",
    "adopts",
    "die_with_parent",
    "how_ended",
    "kill_group",
    "kill_session",
    "named_directory",
    "reap_adopted",
    "resident_bytes",
]

_PR_SET_PDEATHSIG: Final = 1
_PR_GET_CHILD_SUBREAPER: Final = 37


class Child:
    """A started process `python -m MODULE CONFIG`. sock: the parent's end of the socket to it.

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
        """Start the process with the descriptors `fds`, in a new session or else in a new process group.

        config: makes CONFIG from the descriptor number of the child's end of the socket. directory: its working
        directory, None for the caller's. Raise OSError.
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
        # A thread and not SIGCHLD: a handler of that would interfere with other code that starts processes.
        threading.Thread(target=self._wait, name=f"outlast-wait-{self.pid}", daemon=True).start()

    @property
    def code(self) -> int | None:
        """The exit code, the negative signal number if a signal killed it, None while it runs."""
        return self.process.returncode

    @property
    def lost(self) -> bool:
        """Whether the cause of its end is unknown: never, for a process that this one started."""
        return False

    def kill(self) -> None:
        """Kill its process group."""
        kill_group(self.pid)

    def _wait(self) -> None:
        self.process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits for the event
            self._loop.call_soon_threadsafe(self.dead.set)


def how_ended(code: int | None) -> str:
    """Return an exit code in words: "SIGKILL", "exit code 1", "unknown" for None."""
    if code is None:
        return "unknown"
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def named_directory() -> str | None:
    """Return the working directory by the shell's name of it (PWD), None when that is not its name.

    A process stays in the directory where it was started. When "/srv/shop/current" is a link that later points to
    another release, only the name leads there.
    """
    name = os.environ.get("PWD", "")
    try:
        return name if Path(name).is_absolute() and Path(name).samefile(".") else None
    except OSError:
        return None


def kill_group(pid: int) -> None:
    """Kill the process group led by `pid`; do nothing when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_session(pid: int) -> None:
    """Kill the session led by `pid`: its process group, and on Linux every other group too."""
    kill_group(pid)
    for entry in Path("/proc").glob("[0-9]*/stat") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            # "pid (name) state ppid pgrp session ...": the name may contain spaces and brackets
            session = int(entry.read_text().rpartition(")")[2].split()[3])
            if session == pid:
                os.kill(int(entry.parent.name), signal.SIGKILL)


def adopts() -> bool:
    """Return whether orphaned processes become children of this one: it is PID 1 (of a container), or a subreaper."""
    if sys.platform != "linux":
        return False
    if os.getpid() == 1:
        return True
    import ctypes

    answer = ctypes.c_int()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return bool(answer.value)


def reap_adopted(own: Collection[int]) -> None:
    """Reap the children that have ended, except `own`, which other code waits for."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if found.si_pid in own:
                return  # the next call looks further: its own waiter reaps it in the meantime
            os.waitpid(found.si_pid, os.WNOHANG)


def die_with_parent(parent: int) -> None:
    """On Linux, have this process killed when the thread that started it ends; exit now if that thread has ended."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes, 0 where it cannot be read."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
