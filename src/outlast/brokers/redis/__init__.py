"""A store on a Redis or Valkey server: the same jobs for any number of machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.brokers.redis.store import RedisStore, store_at

__all__ = ["RedisStore", "store_at"]


def __getattr__(name: str) -> object:
    """Load the store on first use: what its kind says of it needs no more than the core."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from outlast.brokers.redis import store

    return getattr(store, name)
