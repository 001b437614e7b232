"""What the transport offers to those who declare and enqueue jobs."""

from __future__ import annotations

from typing import Final

from outlast.brokers.rabbitmq.buckets import DELAYS
from outlast.core.store.features import Features

__all__ = ["FEATURES"]

FEATURES: Final = Features(
    unique=False,
    ids=False,
    keys=False,
    priorities=False,
    limits=False,
    bounds=False,
    retention=False,
    forecast=False,
    progress=False,
    once=False,
    delays=DELAYS,
)
