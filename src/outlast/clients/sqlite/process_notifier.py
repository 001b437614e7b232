"""Sends notifications between the processes that share one file: datagram sockets in a folder beside it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["NotificationListener", "ProcessNotifier"]

_LONGEST = 76
"""Bytes of the folder's path: with "/schedule-4194304-" and 8 digits it must fit in 103 and a zero (unix(7))."""


class ProcessNotifier:
    """Notifies all processes that listen for a name on one file. A process that misses a notification polls, slowly."""

    def __init__(self, path: str) -> None:
        folder = Path(f"{path}-bell").absolute()  # processes of other versions use this name
        if len(os.fsencode(folder)) > _LONGEST:
            digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:24]
            folder = Path(tempfile.gettempdir()) / f"outlast-{os.getuid()}" / digest
        self.folder = folder
        self.own: set[str] = set()
        """Addresses of this store's listeners: it notifies them itself, without a socket."""
        self._known: dict[str, list[str]] = {}
        self._changed = -1
        self._settled = False
        self._out: socket.socket | None = None

    def notify(self, name: str) -> None:
        """Notify the listeners of `name`; never block, never raise."""
        for address in self._listeners().get(name, ()):
            with contextlib.suppress(OSError):  # no descriptor left, a full buffer, or just closed: the listener polls
                if self._out is None:
                    self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                    self._out.setblocking(False)
                try:
                    self._out.sendto(b"!", address)
                except ConnectionRefusedError:
                    os.unlink(address)  # noqa: PTH108  (its process was killed)

    def _listeners(self) -> dict[str, list[str]]:
        try:
            changed = os.stat(self.folder).st_mtime_ns  # noqa: PTH116
        except OSError:
            return {}
        if changed != self._changed or not self._settled:
            known: dict[str, list[str]] = {}
            with contextlib.suppress(OSError):
                for entry in os.listdir(self.folder):  # noqa: PTH208
                    if entry not in self.own:
                        known.setdefault(entry.partition("-")[0], []).append(f"{self.folder}/{entry}")
            # The file system's clock is coarse: a listener added in the same tick as this read leaves the time as is.
            self._settled = time.time_ns() - changed > 100_000_000
            self._known, self._changed = known, changed
        return self._known

    def close(self) -> None:
        """Close the socket."""
        if self._out is not None:
            self._out.close()
            self._out = None


class NotificationListener:
    """Calls `notified` on the running event loop when another process notifies `name`."""

    def __init__(self, processes: ProcessNotifier, name: str, notified: Callable[[], None]) -> None:
        self._processes = processes
        self._notified = notified
        self._socket: socket.socket | None = None
        self._address = processes.folder / f"{name}-{os.getpid()}-{secrets.token_hex(4)}"
        processes.own.add(self._address.name)

    def open(self) -> None:
        """Begin to listen. Where the folder cannot be created only the slow poll remains."""
        try:
            self._processes.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind(str(self._address))
        except OSError:
            self.close()
            return
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while self._socket.recv(64):
                continue
        self._notified()

    def close(self) -> None:
        """Stop listening and remove the socket's file."""
        if self._socket is not None:
            with contextlib.suppress(ValueError, RuntimeError):
                asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        with contextlib.suppress(OSError):
            self._address.unlink(missing_ok=True)
        self._processes.own.discard(self._address.name)
