"""Connections to Redis and Valkey: one server, the master of a Sentinel setup, or a Cluster."""

from __future__ import annotations

from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient

__all__ = ["Address", "RedisClient"]
