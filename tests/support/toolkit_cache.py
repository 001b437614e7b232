"""What tests of the cache share: a cache on a toolkit, and a source of values whose computations the test holds."""

from __future__ import annotations

import asyncio

from outlast.declare.value_forms import JsonForms
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.cache import Cache

__all__ = ["Source", "cache_on"]


def cache_on(kit: Toolkit) -> Cache:
    """Return a cache on a toolkit, as an app has one."""
    return Cache(lambda: kit, JsonForms)


class Source:
    """A value, and computations that read it and then wait until `open` is called.

    began: the number of computations that have begun; ended: those that have returned.
    """

    def __init__(self, value: object = 1, *, held: bool = False) -> None:
        self.value = value
        self.began = 0
        self.fault: Exception | None = None
        self._begun = asyncio.Condition()
        self._gate = asyncio.Event()
        if not held:
            self._gate.set()

    async def compute(self) -> object:
        """Read the value, then wait."""
        value = self.value
        async with self._begun:
            self.began += 1
            self._begun.notify_all()
        await self._gate.wait()
        if self.fault is not None:
            raise self.fault
        return value

    async def until_began(self, number: int) -> None:
        """Return when this many computations have begun."""
        async with self._begun:
            await self._begun.wait_for(lambda: self.began >= number)

    def open(self) -> None:
        """Let all computations return."""
        self._gate.set()

    def hold(self) -> None:
        """Hold the computations from now on."""
        self._gate = asyncio.Event()
