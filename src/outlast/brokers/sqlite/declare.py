"""Declaring queues: whose they are, their bounds, and which kinds this process can run."""

from __future__ import annotations

import msgspec

from outlast.brokers.sqlite.transaction import Transaction
from outlast.core.topology import Topology, of_another_app

__all__ = ["declare"]


def declare(tx: Transaction, topology: Topology) -> None:
    """Make the queues known; raise ConfigurationError, before anything has changed, for one of another app."""
    for queue in topology.queues:
        found = tx.find_queue(queue.name)
        if found is not None and topology.app and found.app not in ("", topology.app):
            raise of_another_app(queue.name, found.app, topology.app)
    if topology.kinds:
        tx.kinds = msgspec.json.encode(topology.kinds).decode()
        tx.work = True  # claims that wait look again
    for queue in topology.queues:
        keep = queue.retention
        bounds = (keep.record_ttl, keep.records, keep.dead_ttl, keep.id_memory, queue.max_depth)
        tx.run("queue_declare", (queue.name, *bounds, topology.app))
        tx.refresh(queue.name)
