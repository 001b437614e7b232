"""The toolkit's data in the memory of one process: for tests, and for what one process alone uses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from outlast.aio.notifier import Notifier
from outlast.core.clock import Clock
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.server import ToolkitServer

__all__ = ["ToolkitMemory"]

T = TypeVar("T")


class ToolkitMemory(ToolkitStore):
    """The data of one toolkit, for all event loops and threads of the process. lock: held while data is used."""

    shown = "memory:"
    in_process = True

    def __init__(self, clock: Clock) -> None:
        self.clock: Final = clock
        self.lock: Final = threading.RLock()
        self._sections: dict[str, Any] = {}
        self._notifiers: dict[str, Notifier] = {}

    def section(self, name: str, make: Callable[[], T]) -> T:
        """Return the data of one piece, made by `make` at its first use."""
        with self.lock:
            if name not in self._sections:
                self._sections[name] = make()
            return cast(T, self._sections[name])

    def listen(self, change: str) -> Notifier:
        """Return the notifier of a change."""
        with self.lock:
            return self._notifiers.setdefault(change, Notifier())

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def close(self) -> None:
        """Keep the data: it ends with the toolkit."""

    def choose(
        self,
        memory: Callable[[ToolkitMemory], T],
        file: Callable[[ToolkitFile], T],
        server: Callable[[ToolkitServer], T],
    ) -> T:
        """Return what the function for this kind of store returns."""
        return memory(self)
