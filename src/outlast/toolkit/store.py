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

__all__ = ["ToolkitStore"]

T = TypeVar("T")


class ToolkitStore(ABC):
    """A place of the toolkit's data, for one event loop; in memory for all loops of the process.

    shown: its name for messages, without secrets. in_process: whether it is never away.
    """

    shown: str
    in_process: ClassVar[bool] = False

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
    ) -> T:
        """Return the form of a piece, chosen at its first use and kept with the store. piece: what asks for it."""
        found: T | None = self._forms.get(piece)
        if found is None:
            found = self._forms[piece] = self.choose(memory, file, server)
        return found
