"""Whether several processes serve one port: then each scrape reaches one of them, and none can speak for all.

Linux: a process with the same parent has the same listening socket, or one on the same port (SO_REUSEPORT). Elsewhere:
the server was told to run several workers, or has started this process by multiprocessing.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["several_serve"]

_PROC: Final = Path("/proc")
_LISTENS: Final = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def several_serve(port: int, *, proc: Path = _PROC, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether another process answers on this TCP port. It reads files of the kernel: call it in a thread."""
    if not (proc / "net" / "tcp").exists():
        return _told_to_run_several(environ)
    sockets = set(_listening(port, proc))
    return bool(sockets) and any(_has_one(pid, sockets, proc) for pid in _siblings(proc))


def _told_to_run_several(environ: Mapping[str, str]) -> bool:
    workers = environ.get("WEB_CONCURRENCY", "")  # of uvicorn and gunicorn
    return (workers.isdecimal() and int(workers) > 1) or multiprocessing.parent_process() is not None


def _listening(port: int, proc: Path) -> Iterator[str]:
    """Yield what the descriptors of the sockets that listen on the port lead to."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "self" / "net" / name).read_text().splitlines()[1:]
        except OSError:  # a host without IPv6
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                yield f"socket:[{fields[9]}]"


def _siblings(proc: Path) -> Iterator[int]:
    own, parent = os.getpid(), os.getppid()
    for entry in proc.iterdir():
        if entry.name.isdecimal() and int(entry.name) != own:
            try:
                # The name of the program, in brackets, may hold spaces and brackets.
                status = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(status[1]) == parent:
                yield int(entry.name)


def _has_one(pid: int, sockets: set[str], proc: Path) -> bool:
    try:
        descriptors = list((proc / str(pid) / "fd").iterdir())
    except OSError:  # it has ended, or belongs to another user
        return False
    return any(_target(each) in sockets for each in descriptors)


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""
