"""The form of the boards that each store has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast.toolkit.boards.store import BoardStore
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.core.clock import Clock
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.memory import ToolkitMemory
    from outlast.toolkit.server import ToolkitServer

__all__ = ["boards_of"]


def boards_of(store: ToolkitStore, clock: Clock) -> BoardStore:
    """Return the boards of a store. clock: of the process, by which the period of a server is guessed."""

    def on_server(server: ToolkitServer) -> BoardStore:
        from outlast.toolkit.boards.server import ServerBoards  # its client is in an extra

        return ServerBoards(server, clock)

    return store.choose(_in_memory, _in_file, on_server)


def _in_memory(memory: ToolkitMemory) -> BoardStore:
    from outlast.toolkit.boards.memory import MemoryBoards

    return MemoryBoards.of(memory)


def _in_file(file: ToolkitFile) -> BoardStore:
    from outlast.toolkit.boards.file import FileBoards  # SQLite is not needed for the others

    return FileBoards(file)
