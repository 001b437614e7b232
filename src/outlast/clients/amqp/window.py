"""Bounds what is sent and not answered, by count and by bytes; calls that wait for room are served in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

__all__ = ["SendWindow"]


class SendWindow:
    """Room for `count` messages with `size` bytes together. A message larger than `size` goes alone."""

    def __init__(self, count: int, size: int) -> None:
        self._most_count = count
        self._most_size = size
        self._waiting: deque[tuple[asyncio.Future[int], Sequence[int]]] = deque()
        self.count = 0
        """Messages that are in it."""
        self.size = 0
        """Bytes of them."""

    async def enter(self, sizes: Sequence[int]) -> int:
        """Take room for the first of these messages, as many as fit, one at least; return their number.

        Wait while there is no room, and behind all calls that wait already. A cancelled call takes no room.
        """
        if not self._waiting and self._fits(sizes[0]):
            return self._take(sizes)
        granted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        line = (granted, sizes)
        self._waiting.append(line)
        try:
            return await granted
        except BaseException:
            if granted.done() and not granted.cancelled():
                self.leave(granted.result(), sum(sizes[: granted.result()]))
            elif line in self._waiting:
                self._waiting.remove(line)
                self._grant()
            raise

    def leave(self, count: int, size: int) -> None:
        """Give back the room of some messages."""
        self.count -= count
        self.size -= size
        if self._waiting:
            self._grant()

    def _fits(self, size: int) -> bool:
        return not self.count or (self.count < self._most_count and self.size + size <= self._most_size)

    def _take(self, sizes: Sequence[int]) -> int:
        number = 0
        for size in sizes:
            if number and not self._fits(size):
                break
            self.count += 1
            self.size += size
            number += 1
        return number

    def _grant(self) -> None:
        """Give room to the calls that wait, in their order, until it does not suffice for the next one."""
        while self._waiting:
            granted, sizes = self._waiting[0]
            if not granted.cancelled():
                if not self._fits(sizes[0]):
                    return
                granted.set_result(self._take(sizes))
            self._waiting.popleft()
