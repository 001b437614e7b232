"""The reloading parent of `outlast dev`: keeps the port and one child, and imports no user code."""

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
from outlast.cli.dev.messages import DevChildConfig, Order, order
from outlast.cli.output.show import note
from outlast.core.exitcodes import CLEAN, CONFIG, STORE
from outlast.core.text import clean

__all__ = ["DevParent"]

_LOOK: Final = 0.3
"""Seconds between two looks at the files; a large tree is looked at less often."""
_RELOAD_PATIENCE: Final = 8.0
"""Seconds that a child has to leave for its successor."""
_LINGER: Final = 3.0


class DevParent:
    """Has one child alive at a time. It talks to it by a pipe: should the parent die, the child reads its end."""

    def __init__(self, target: str, jobs: str | None, listener: socket.socket, folders: Sequence[Path]) -> None:
        self._target = target
        self._jobs = jobs
        self._listener = listener
        self._folders = folders
        self._stop = asyncio.Event()
        self._signals = 0
        self._child: _DevChild | None = None

    def serve(self) -> int:
        """Run until Ctrl-C or SIGTERM; return an exit code of worker.exitcodes."""

        async def work() -> int:
            loop = asyncio.get_running_loop()
            for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(name, self._on_signal)
            return await self._run()

        return asyncio.run(work())

    def _on_signal(self) -> None:
        self._signals += 1
        self._stop.set()
        if self._child is None:
            return
        match self._signals:
            case 1:
                note("outlast: stopping; jobs that run may finish (Ctrl-C again: give them back now)")
                self._child.tell("stop")
            case 2:
                self._child.tell("hurry")
            case _:
                self._child.kill()

    async def _run(self) -> int:
        seen = snapshot(self._folders)
        first = True
        while True:
            child = self._child = _DevChild(self._target, self._jobs, self._listener, first=first)
            try:
                ended, seen = await self._until_something(child, seen)
                if ended == "changed":
                    child.tell("reload")
                    if not await child.gone_within(_RELOAD_PATIENCE):
                        child.kill()
                code = await child.code()
            finally:
                child.close()
                self._child = None
            if self._stop.is_set():
                return CLEAN if code in (CLEAN, -signal.SIGKILL) else code
            if ended == "dead":
                if not self._folders or (code in (CONFIG, STORE) and first):
                    return code
                note("outlast: the app is down; it starts again when a file changes")
                change = await self._until_change(seen)
                if change is None:
                    return CLEAN
                seen = change
            first = False

    async def _until_something(
        self, child: _DevChild, seen: Snapshot
    ) -> tuple[Literal["changed", "dead", "stopped"], Snapshot]:
        """Wait for a changed file, the child's end or a signal (then also for the child's end)."""
        change = asyncio.ensure_future(self._until_change(seen))
        death = asyncio.ensure_future(child.code())
        try:
            await asyncio.wait((change, death), return_when=asyncio.FIRST_COMPLETED)
            if death.done():
                return "dead", seen
            after = change.result()
            if after is None:
                await death
                return "stopped", seen
            return "changed", after
        finally:
            change.cancel()
            death.cancel()
            await asyncio.gather(change, death, return_exceptions=True)

    async def _until_change(self, seen: Snapshot) -> Snapshot | None:
        """Return what is there once a file has changed and all have been at rest for one look; None when stopped."""
        pause = _LOOK
        reported: list[str] = []
        while not await self._stopped_within(pause):
            if not self._folders:
                continue
            began = time.monotonic()
            after = await asyncio.to_thread(snapshot, self._folders)
            pause = max(_LOOK, 10 * (time.monotonic() - began))
            files = changed(seen, after)
            if files:
                reported, seen = files, after  # an editor may still be writing: look once more
            elif reported:
                more = f" and {len(reported) - 1} more" if len(reported) > 1 else ""
                note(f"outlast: {clean(reported[0])}{more} changed, starting anew")
                return seen
        return None

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()


class _DevChild:
    """One started child with the pipe that orders go through."""

    def __init__(self, target: str, jobs: str | None, listener: socket.socket, *, first: bool) -> None:
        theirs, self._pipe = os.pipe()
        try:
            # Blocked until the child has a handler: Ctrl-C in its first moments would be a traceback.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            config = DevChildConfig(target=target, jobs=jobs, port_fd=listener.fileno(), orders_fd=theirs, first=first)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "outlast.cli.dev.child_main", msgspec.json.encode(config).decode()],
                pass_fds=(listener.fileno(), theirs),
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            os.close(theirs)
        self._ended = asyncio.ensure_future(asyncio.to_thread(self._process.wait))

    def tell(self, what: Order) -> None:
        """Give an order; one that has ended needs none."""
        with contextlib.suppress(OSError):
            os.write(self._pipe, order(what))

    def kill(self) -> None:
        """End it at once; what it ran for itself alone sees its pipes close."""
        self._process.kill()

    async def code(self) -> int:
        """Wait for its end; return its exit code."""
        return await asyncio.shield(self._ended)

    async def gone_within(self, seconds: float) -> bool:
        """Tell whether it ended in time."""
        await asyncio.wait((self._ended,), timeout=seconds)
        return self._ended.done()

    def close(self) -> None:
        """Let go of it; killed if it still lives."""
        if not self._ended.done():
            self._process.kill()
        os.close(self._pipe)
