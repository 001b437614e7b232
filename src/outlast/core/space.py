"""How many bytes a store uses, and how many it can use."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Space"]


class Space(Struct, frozen=True):
    """Bytes of a store on its disk, or in the memory of its server. limit: None where nothing bounds them."""

    used: int
    limit: int | None = None
