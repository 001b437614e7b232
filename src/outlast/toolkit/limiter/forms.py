"""The form of the limits that each store has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast.toolkit.limiter.memory import MemoryLimits
from outlast.toolkit.limiter.store import LimitStore
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.server import ToolkitServer

__all__ = ["limits_of"]


def limits_of(store: ToolkitStore) -> LimitStore:
    """Return the limits of a store."""
    return store.form(limits_of, MemoryLimits.of, _of_file, _of_server)


def _of_file(file: ToolkitFile) -> LimitStore:
    from outlast.toolkit.limiter.file import FileLimits  # SQLite is not needed for the others

    return FileLimits(file)


def _of_server(server: ToolkitServer) -> LimitStore:
    from outlast.toolkit.limiter.server import ServerLimits  # its client is in an extra

    return ServerLimits(server)
