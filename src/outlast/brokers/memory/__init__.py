"""A store in this process's memory: for tests, and the model that every other store is held against."""

from __future__ import annotations

from outlast.brokers.memory.store import MemoryStore

__all__ = ["MemoryStore"]
