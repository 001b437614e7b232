"""What the clients of servers count: connections that were made again."""

from __future__ import annotations

from typing import Final

from outlast.meters import meters

__all__ = ["RECONNECTS"]

RECONNECTS: Final = meters.counter(
    "outlast_reconnects_total",
    "Connections to a server that were made again after they had ended. server: redis, amqp, memcached.",
    ("server",),
)
