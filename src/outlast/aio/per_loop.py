"""One value for each process and event loop: made at its first use there, closed with the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final, Generic, TypeVar

from outlast.aio.loop_end import at_loop_end

__all__ = ["PerLoop"]

T = TypeVar("T")


class _ClosedWithLoop:
    """What the loop closes at its end; the loop keeps a weak reference."""

    __slots__ = ("__weakref__", "_close")

    def __init__(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._close = close

    async def aclose(self) -> None:
        await self._close()


class PerLoop(Generic[T]):
    """Values by process and event loop. Thread-safe: a loop finds only what was made on it.

    make: makes the value of the running loop. close: awaited on a loop at its end, with what it should close. abandon:
    closes a value whose loop was closed without that, on another loop; its connections need their loop, so it may raise
    RuntimeError.
    """

    def __init__(
        self,
        make: Callable[[], T],
        *,
        close: Callable[[], Coroutine[Any, Any, None]],
        abandon: Callable[[T], Awaitable[None]],
    ) -> None:
        self._make: Final = make
        self._close: Final = close
        self._abandon: Final = abandon
        self._values: dict[tuple[int, asyncio.AbstractEventLoop], tuple[T, _ClosedWithLoop]] = {}

    def here(self) -> T | None:
        """Return the value of the running loop, None before its first use."""
        found = self._values.get((os.getpid(), asyncio.get_running_loop()))
        return None if found is None else found[0]

    async def get(self) -> T:
        """Return the value of the running loop, made at the first use; close those of loops that have ended."""
        value = self.here()
        if value is None:
            value, ended = self._make(), _ClosedWithLoop(self._close)
            self._values[os.getpid(), asyncio.get_running_loop()] = value, ended
            at_loop_end(ended)
            await self._forget()
        return value

    def pop(self) -> T | None:
        """Return the value of the running loop and forget it, None if there is none."""
        found = self._values.pop((os.getpid(), asyncio.get_running_loop()), None)
        return None if found is None else found[0]

    def others(self) -> Iterator[T]:
        """Yield the values of the other loops of this process that are not closed."""
        here = asyncio.get_running_loop()
        for (pid, loop), (value, _) in [*self._values.items()]:
            if pid == os.getpid() and loop is not here and not loop.is_closed():
                yield value

    def __iter__(self) -> Iterator[T]:
        """Yield the values of this process, of loops that are closed too."""
        return iter([value for (pid, _), (value, _) in [*self._values.items()] if pid == os.getpid()])

    async def _forget(self) -> None:
        """Close the values of loops that were closed before; drop those of the parent process after a fork."""
        ended = [key for key in self._values if key[0] != os.getpid() or key[1].is_closed()]
        for key, (value, _) in [(key, self._values.pop(key)) for key in ended]:
            if key[0] == os.getpid():
                with contextlib.suppress(RuntimeError):  # its connections need their loop: they end when they are freed
                    await self._abandon(value)
