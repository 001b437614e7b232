"""A store on a Redis or Valkey server: the same jobs for any number of machines."""

from __future__ import annotations

from outlast.brokers.redis.store import RedisStore

__all__ = ["RedisStore"]
