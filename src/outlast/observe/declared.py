"""What an exporter must know of an app to show its queues: their names, kinds and objectives, without its code."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from outlast.core.registry import Registry

__all__ = ["DeclaredQueues", "declared_by"]


class DeclaredQueues(Struct, frozen=True):
    """The queues of one app. kinds: by queue, the names of its kinds, without versions. objectives: seconds."""

    app: str
    kinds: Mapping[str, tuple[str, ...]]
    objectives: Mapping[str, float] = {}


def declared_by(registry: Registry) -> DeclaredQueues:
    """Return what an app has declared so far."""
    objectives = {name: queue.objective for name, queue in registry.queues.items()}
    return DeclaredQueues(registry.app, registry.kinds_by_queue(), objectives)
