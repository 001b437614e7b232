"""A store in the memory of this process: for tests, and the model that all other stores are compared with."""

from __future__ import annotations

from outlast.brokers.memory.store import MemoryStore

__all__ = ["MemoryStore"]
