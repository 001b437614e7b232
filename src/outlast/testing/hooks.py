"""Runs the start and stop hooks of an app in a test, as a worker would: around the jobs that the test runs."""

from __future__ import annotations

import asyncio
from typing import Final

from outlast.aio.portal import portal
from outlast.core.errors import ConfigurationError
from outlast.core.registry import Registry
from outlast.worker import lifecycle

__all__ = ["TestHooks"]

_GRACE: Final = 10.0
"""Seconds that the stop hooks have at the end of a block."""


class TestHooks:
    """The hooks of one block: started before its first drain, on the loop of that, and stopped there at its end."""

    __test__ = False

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._loop: asyncio.AbstractEventLoop | None = None
        self.can_await = False
        """Whether the end of the block is awaited: `async with`."""

    async def start(self) -> None:
        """Call the start hooks, once. Raise HookFailed; ConfigurationError when nothing could await the stop hooks."""
        registry, loop = self._registry, asyncio.get_running_loop()
        if self._loop is not None or not (registry.on_start or registry.on_stop):
            return
        if not self.can_await and loop is not portal().loop:
            raise ConfigurationError(
                "drain: the app has on_start or on_stop hooks: write `async with shop.testing()`, or use drain_sync()"
            )
        await lifecycle.start(registry.on_start, asyncio.Event())
        self._loop = loop

    async def stop(self) -> None:
        """Call the stop hooks if the start hooks have run, on their loop."""
        loop, self._loop = self._loop, None
        if loop is asyncio.get_running_loop():
            await self._stop()
        elif loop is not None:
            await portal().visit(self._stop)

    def stop_sync(self) -> None:
        """Stop from a block that is not awaited: the hooks ran on the portal's loop."""
        loop, self._loop = self._loop, None
        if loop is not None:
            portal().run(self._stop)

    async def _stop(self) -> None:
        await lifecycle.stop(self._registry.on_stop, _GRACE, asyncio.Event())
