"""The form of the places of locks that each store has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast.toolkit.lock.store import LockStore
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.memory import ToolkitMemory
    from outlast.toolkit.server import ToolkitServer

__all__ = ["lock_store"]


def lock_store(store: ToolkitStore) -> LockStore:
    """Return the form of the places that this store has."""
    return store.form(lock_store, _in_memory, _in_file, _on_server)


def _in_memory(memory: ToolkitMemory) -> LockStore:
    from outlast.toolkit.lock.memory import MemoryLocks

    return MemoryLocks(memory)


def _in_file(file: ToolkitFile) -> LockStore:
    from outlast.toolkit.lock.file import FileLocks

    return FileLocks(file)


def _on_server(server: ToolkitServer) -> LockStore:
    from outlast.toolkit.lock.server import ServerLocks

    return ServerLocks(server)
