"""The store as a part of its app: healthy while it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from outlast.core.parts import Part

if TYPE_CHECKING:
    from outlast.enqueue.runtime import Runtime

__all__ = ["store_part"]


def store_part(runtime: Callable[[], Awaitable[Runtime]]) -> Part:
    """Return the part; its health opens the store on first use, and raises StoreError when it does not answer."""

    async def health() -> None:
        await (await runtime()).store.records.get(["health.none"])

    return Part("store", health=health)
