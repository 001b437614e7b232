"""The form of the records of idempotency keys that each store has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast.toolkit.idempotency.records import KeyRecords
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.memory import ToolkitMemory
    from outlast.toolkit.server import ToolkitServer

__all__ = ["records_of"]


def records_of(store: ToolkitStore) -> KeyRecords:
    """Return the records of an open store."""
    return store.form(records_of, _in_memory, _in_file, _on_server)


def _in_memory(store: ToolkitMemory) -> KeyRecords:
    from outlast.toolkit.idempotency.memory import MemoryKeys

    return MemoryKeys(store)


def _in_file(store: ToolkitFile) -> KeyRecords:
    from outlast.toolkit.idempotency.file import FileKeys

    return FileKeys(store)


def _on_server(store: ToolkitServer) -> KeyRecords:
    from outlast.toolkit.idempotency.server import ServerKeys  # needs the extra "redis"

    return ServerKeys(store)
