"""The form of sessions that each store has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast.toolkit.sessions.store import SessionStore
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.memory import ToolkitMemory
    from outlast.toolkit.server import ToolkitServer

__all__ = ["sessions_of"]


def sessions_of(store: ToolkitStore) -> SessionStore:
    """Return the sessions of an open store."""
    return store.choose(_in_memory, _in_file, _on_server)


def _in_memory(store: ToolkitMemory) -> SessionStore:
    from outlast.toolkit.sessions.memory import MemorySessions

    return MemorySessions(store)


def _in_file(store: ToolkitFile) -> SessionStore:
    from outlast.toolkit.sessions.file import FileSessions

    return FileSessions(store)


def _on_server(store: ToolkitServer) -> SessionStore:
    from outlast.toolkit.sessions.server import ServerSessions  # needs the extra "redis"

    return ServerSessions(store)
