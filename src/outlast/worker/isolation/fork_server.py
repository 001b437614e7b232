"""A process with the app imported, which forks a child process for each job that must run alone.

`python -m outlast.worker.isolation.fork_server CONFIG`: a fork takes milliseconds and imports nothing.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import stat
import sys
import threading
from pathlib import Path

import msgspec

from outlast.aio.children import die_with_parent
from outlast.aio.frames import pack
from outlast.aio.signals import ignore_stops
from outlast.worker.app_source import load_source
from outlast.worker.isolation.child_main import serve
from outlast.worker.isolation.messages import FORK, Forked, ForkEnded, ForkServerReady, IsolatedConfig, encode
from outlast.worker.isolation.own_parent import continue_in_fork

__all__ = ["main", "unfit"]


def main() -> None:
    """Import the app, report whether it may be forked, and fork until the worker closes the socket."""
    config = msgspec.json.decode(sys.argv[1].encode(), type=IsolatedConfig)
    die_with_parent(config.parent)
    ignore_stops()
    before = _descriptors()
    app, failed = load_source(config.source)
    composer = app.composer
    for arguments in composer.arguments.values():
        _ = arguments.redacted  # builds the validator once, instead of in every fork
    sock = socket.socket(fileno=config.fd)
    why = unfit(_descriptors() - before)
    sock.sendall(pack(encode(ForkServerReady(why))))
    if why:
        return
    gc.collect()
    gc.freeze()  # a collection in a fork must not write to every page that it shares with this process
    forked = _serve(sock)
    if forked is not None:
        serve(forked, composer, failed)


def unfit(opened: set[int]) -> str:
    """Return why a process that has `opened` these descriptors must not be forked, "" when it may.

    A fork has no threads, but their locks stay taken; two processes must not use one connection or one database.
    Log files that are only appended to, and files that are only read, do no harm.
    """
    if sys.platform != "linux":
        return f"forking is not safe on {sys.platform}"
    if threading.active_count() > 1:
        return "the app started a thread when it was imported"
    for fd in opened:
        with contextlib.suppress(OSError):
            kind = os.fstat(fd).st_mode
            flags = _flags(fd)
            shared = stat.S_ISREG(kind) and flags & os.O_ACCMODE == os.O_RDWR
            if shared or not (stat.S_ISREG(kind) or stat.S_ISCHR(kind) or stat.S_ISDIR(kind)):
                return f"the app opened {Path(f'/proc/self/fd/{fd}').readlink()} when it was imported"
    return ""


def _flags(fd: int) -> int:
    for row in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        if row.startswith("flags:"):
            return int(row.split()[1], 8)
    return os.O_RDWR


def _descriptors() -> set[int]:
    folder = Path("/proc/self/fd")
    return {int(entry.name) for entry in folder.iterdir()} if folder.is_dir() else set()


def _serve(sock: socket.socket) -> socket.socket | None:
    """Fork for every received socket, and report the ends of forks. Return the socket in a fork, None at the end."""
    parent = os.getpid()
    wakeup, signalled = socket.socketpair()
    for each in (wakeup, signalled):
        each.setblocking(False)
    signal.set_wakeup_fd(signalled.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([sock, wakeup], [], [])
        if wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                wakeup.recv(4096)
            _report_ended(sock)
        if sock not in ready:
            continue
        request, sockets, _, _ = socket.recv_fds(sock, len(FORK), 1)
        if not request:
            return None
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            ignore_stops()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (wakeup, signalled, sock):
                each.close()
            os.setpgid(0, 0)
            die_with_parent(parent)
            continue_in_fork(sockets[0])
            return socket.socket(fileno=sockets[0])
        os.close(sockets[0])
        if pid > 0:
            with contextlib.suppress(OSError):  # the fork has done it, or has ended
                os.setpgid(pid, pid)  # also here: the worker may kill the group as soon as it has the pid
        sock.sendall(pack(encode(Forked(max(pid, 0)))))


def _report_ended(sock: socket.socket) -> None:
    """Reap every ended fork and report its exit code."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        sock.sendall(pack(encode(ForkEnded(pid, os.waitstatus_to_exitcode(status)))))


if __name__ == "__main__":
    main()
