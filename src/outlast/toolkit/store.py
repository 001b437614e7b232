"""What every store of the toolkit is: a place that is opened and closed, and of which each piece has its own form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.memory import ToolkitMemory
    from outlast.toolkit.server import ToolkitServer

__all__ = ["PartAway", "ToolkitStore"]

T = TypeVar("T")


class PartAway(Exception):
    """One of several servers does not answer: only its keys are away. uncertain: the call may have been done."""

    def __init__(self, why: str, *, uncertain: bool, retry_after: float) -> None:
        super().__init__(why)
        self.uncertain = uncertain
        self.retry_after = retry_after


class ToolkitStore(ABC):
    """A place of the toolkit's data, for one event loop; in memory for all loops of the process.

    shown: its name for messages, without secrets. in_process: whether it is never away. caches_only: the cache has a
    form there; the other pieces have none.
    """

    shown: str
    in_process: ClassVar[bool] = False
    caches_only: ClassVar[bool] = False

    @cached_property
    def _forms(self) -> dict[object, Any]:
        """The forms of `form`: they end with the store."""
        return {}

    @abstractmethod
    async def open(self) -> None:
        """Open it; raise StoreError. Opening twice is a no-op."""

    @abstractmethod
    async def close(self) -> None:
        """Close it; it may be opened again."""

    @abstractmethod
    def choose(
        self,
        memory: Callable[[ToolkitMemory], T],
        file: Callable[[ToolkitFile], T],
        server: Callable[[ToolkitServer], T],
    ) -> T:
        """Return what the function for this kind of store returns: the form that a piece has there."""

    def form(
        self,
        piece: object,
        memory: Callable[[ToolkitMemory], T],
        file: Callable[[ToolkitFile], T],
        server: Callable[[ToolkitServer], T],
        *,
        caches_only: Callable[[ToolkitStore], T] | None = None,
    ) -> T:
        """Return the form of a piece, chosen at its first use and kept with the store. piece: what asks for it.

        caches_only: of the cache, for a store that keeps nothing else.
        """
        found: T | None = self._forms.get(piece)
        if found is None:
            if caches_only is not None and self.caches_only:
                found = caches_only(self)
            else:
                found = self.choose(memory, file, server)
            self._forms[piece] = found
        return found
