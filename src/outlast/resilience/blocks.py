"""The open `with` blocks of one object: which one ends, when several are open and one object stands for all."""

from __future__ import annotations

import asyncio
import threading
from types import CodeType, FrameType
from typing import Final, Generic, Protocol, TypeVar

from outlast.aio.deadlines import Within
from outlast.core.guards.answers import Admission
from outlast.resilience.lane import Lane

__all__ = ["Block", "Blocks", "OpenBlock", "owner_of_block"]


class OpenBlock(Protocol):
    """A block that `Blocks` finds again. owner: its task, or its thread when there is none; the others it sets."""

    @property
    def owner(self) -> object:
        """Who entered it."""

    place: int
    code: CodeType | None


B = TypeVar("B", bound=OpenBlock)


class Block:
    """One open block. owner: its task, or its thread when there is none. within: what ends it in time."""

    __slots__ = ("admission", "code", "lane", "owner", "place", "timeout", "within")

    def __init__(
        self, lane: Lane, admission: Admission, owner: object, timeout: float | None, within: Within | None
    ) -> None:
        self.lane: Final = lane
        self.admission: Final = admission
        self.owner: Final = owner
        self.timeout: Final = timeout
        self.within: Final = within
        self.place = 0
        self.code: CodeType | None = None


class Blocks(Generic[B]):
    """Finds the block that ends by the frame of its `with` statement: also in a generator that another task closes.

    A frame lives as long as a block in it is open, so its address is its own. `contextlib.ExitStack` enters and leaves
    in frames of its own: then it is the last block of the task, or of the thread.
    """

    __slots__ = ("_lock", "_open")

    def __init__(self) -> None:
        self._open: dict[int, list[B]] = {}
        self._lock = threading.RLock()

    def opened(self, block: B, frame: FrameType) -> None:
        """Keep a block until its end. frame: that of the `with` statement."""
        block.place, block.code = id(frame), frame.f_code
        with self._lock:
            self._open.setdefault(block.place, []).append(block)

    def ended(self, owner: object, frame: FrameType) -> B | None:
        """Return the block that ends here, and forget it; None if there is none."""
        place = id(frame)
        with self._lock:
            here = self._open.get(place)
            if here is not None and here[-1].code is frame.f_code:
                block = here.pop()
                if not here:
                    del self._open[place]
                return block
            return self._last_of(owner)

    def _last_of(self, owner: object) -> B | None:
        for place in reversed(self._open):
            for block in reversed(self._open[place]):
                if block.owner == owner:
                    self._open[place].remove(block)
                    if not self._open[place]:
                        del self._open[place]
                    return block
        return None


def owner_of_block() -> object:
    """Return the running task, or the thread for code without one."""
    if asyncio._get_running_loop() is None:
        return threading.get_ident()
    return asyncio.current_task() or threading.get_ident()
