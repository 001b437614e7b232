"""The bulkhead of a guard in one process, as a worker tells it the store."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["PermitsInUse"]


class PermitsInUse(Struct, frozen=True, gc=False):
    """used: calls that run; of: calls that may run at once; waiting: calls that wait for their turn."""

    guard: str
    process: str
    used: int
    of: int
    waiting: int
