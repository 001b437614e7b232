"""Sends notifications between the processes that share one file: datagram sockets in a folder beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable
from time import time_ns

from outlast.clients.sqlite.runtime_folder import make_folder, runtime_folder, usable

__all__ = ["NotificationListener", "ProcessNotifier"]


class ProcessNotifier:
    """Notifies all processes that listen for a name on one file. A process that misses a notification polls, slowly."""

    def __init__(self, path: str) -> None:
        self.folder = runtime_folder(path)
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
                for entry in os.listdir(self.folder) if usable(self.folder) else ():  # noqa: PTH208
                    if entry not in self.own:
                        known.setdefault(entry.partition("-")[0], []).append(f"{self.folder}/{entry}")
            # The file system's clock is coarse: a listener added in the same tick as this read leaves the time as is.
            self._settled = time_ns() - changed > 100_000_000
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
        """Begin to listen. Where the folder cannot be made, or is not ours, only the slow poll remains."""
        try:
            if not make_folder(self._processes.folder):
                return
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
