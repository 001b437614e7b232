"""The reloading parent of `outlast dev`: owns the port and one child process, and imports no user code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from outlast.cli.dev.file_watch import Snapshot, changed, snapshot
from outlast.cli.dev.messages import DevChildConfig, Order, encode
from outlast.cli.output.show import note
from outlast.core.exitcodes import CLEAN, CONFIG, STORE
from outlast.core.text import clean

__all__ = ["DevParent"]

_SCAN_INTERVAL: Final = 0.3
"""Seconds between two scans of the files; a large tree is scanned less often."""
_RELOAD_TIMEOUT: Final = 8.0
"""Seconds that a child has to exit for its successor; then it is killed."""


class DevParent:
    """Runs one child process at a time, and sends it orders through a pipe.

    If the parent dies, the child reads the end of the pipe and exits.
    """

    def __init__(self, target: str, jobs: str | None, listener: socket.socket, folders: Sequence[Path]) -> None:
        self._target = target
        self._jobs = jobs
        self._listener = listener
        self._folders = folders
        self._stop = asyncio.Event()
        self._signals = 0
        self._child: _DevChild | None = None

    def serve(self) -> int:
        """Run until Ctrl-C or SIGTERM; return an exit code of core.exitcodes."""

        async def serve() -> int:
            loop = asyncio.get_running_loop()
            for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(name, self._on_signal)
            return await self._run()

        return asyncio.run(serve())

    def _on_signal(self) -> None:
        self._signals += 1
        self._stop.set()
        if self._child is None:
            return
        match self._signals:
            case 1:
                note("outlast: stopping; running jobs may end (Ctrl-C again: release them now)")
                self._child.send("stop")
            case 2:
                self._child.send("hurry")
            case _:
                self._child.kill()

    async def _run(self) -> int:
        seen = snapshot(self._folders)
        first = True
        while True:
            child = self._child = _DevChild(self._target, self._jobs, self._listener, first=first)
            try:
                event, seen = await self._next_event(child, seen)
                if event == "changed":
                    child.send("reload")
                    if not await child.exits_within(_RELOAD_TIMEOUT):
                        child.kill()
                code = await child.code()
            finally:
                child.close()
                self._child = None
            if self._stop.is_set():
                return CLEAN if code in (CLEAN, -signal.SIGKILL) else code
            if event == "exited":
                if not self._folders or (code in (CONFIG, STORE) and first):
                    return code
                note("outlast: the app has stopped; it starts again when a file changes")
                change = await self._until_change(seen)
                if change is None:
                    return CLEAN
                seen = change
            first = False

    async def _next_event(
        self, child: _DevChild, seen: Snapshot
    ) -> tuple[Literal["changed", "exited", "stopped"], Snapshot]:
        """Wait for a changed file, the child's exit, or a signal (then also for the child's exit)."""
        change = asyncio.ensure_future(self._until_change(seen))
        exit_ = asyncio.ensure_future(child.code())
        try:
            await asyncio.wait((change, exit_), return_when=asyncio.FIRST_COMPLETED)
            if exit_.done():
                return "exited", seen
            after = change.result()
            if after is None:
                await exit_
                return "stopped", seen
            return "changed", after
        finally:
            change.cancel()
            exit_.cancel()
            await asyncio.gather(change, exit_, return_exceptions=True)

    async def _until_change(self, seen: Snapshot) -> Snapshot | None:
        """Return the files after a change, once one scan has found no further change; None if stopped."""
        pause = _SCAN_INTERVAL
        reported: list[str] = []
        while not await self._stopped_within(pause):
            if not self._folders:
                continue
            started = time.monotonic()
            after = await asyncio.to_thread(snapshot, self._folders)
            pause = max(_SCAN_INTERVAL, 10 * (time.monotonic() - started))
            files = changed(seen, after)
            if files:
                reported, seen = files, after  # an editor may still be writing: scan once more
            elif reported:
                more = f" and {len(reported) - 1} more" if len(reported) > 1 else ""
                note(f"outlast: {clean(reported[0])}{more} changed, restarting")
                return seen
        return None

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()


class _DevChild:
    """A child process and the pipe for its orders."""

    def __init__(self, target: str, jobs: str | None, listener: socket.socket, *, first: bool) -> None:
        reader, self._pipe = os.pipe()
        try:
            # Blocked until the child has a handler: Ctrl-C before that would print a traceback.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            config = DevChildConfig(target=target, jobs=jobs, port_fd=listener.fileno(), orders_fd=reader, first=first)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "outlast.cli.dev.child_main", msgspec.json.encode(config).decode()],
                pass_fds=(listener.fileno(), reader),
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            os.close(reader)
        self._exited = asyncio.ensure_future(asyncio.to_thread(self._process.wait))

    def send(self, order: Order) -> None:
        """Send an order; do nothing if the child has exited."""
        with contextlib.suppress(OSError):
            os.write(self._pipe, encode(order))

    def kill(self) -> None:
        """Kill the child; its isolated processes exit when their pipes close."""
        self._process.kill()

    async def code(self) -> int:
        """Wait for the exit of the child; return its exit code."""
        return await asyncio.shield(self._exited)

    async def exits_within(self, seconds: float) -> bool:
        """Return whether the child exits in time."""
        await asyncio.wait((self._exited,), timeout=seconds)
        return self._exited.done()

    def close(self) -> None:
        """Close the pipe; kill the child if it is still alive."""
        if not self._exited.done():
            self._process.kill()
        os.close(self._pipe)
