"""A store in the memory of this process: for tests, and the model that all other stores are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.brokers.memory.store import MemoryStore

__all__ = ["MemoryStore"]


def __getattr__(name: str) -> object:
    """Load the store on first use: MemoryKind needs only the core."""
    if name != "MemoryStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from outlast.brokers.memory.store import MemoryStore

    return MemoryStore
