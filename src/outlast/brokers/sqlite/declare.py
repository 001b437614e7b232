"""Declaring queues: whose they are, their limits, and which kinds this process can run. An operator's changes stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.bounds import weigh_all
from outlast.brokers.sqlite.limits import changes_of, changes_text, rules, text_of
from outlast.brokers.sqlite.transaction import Transaction
from outlast.core.store.control import Adjust, Answer
from outlast.core.topology import Queue, Topology, adjusted, of_another_app

__all__ = ["adjust", "check", "declare"]


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
        bounds = (keep.record_ttl, keep.records, keep.dead_ttl, keep.id_memory)
        before = tx.find_queue(queue.name)
        if tx.run("queue_declare", (queue.name, *bounds, topology.app, text_of(queue))):
            tx.refresh(queue.name)
            kept = before is not None and bounds == (
                before.record_ttl, before.records_kept, before.dead_ttl, before.id_memory
            )  # fmt: skip
            _take_over(tx, queue, _said(tx, queue.name)[1], anew=not kept)


def check(tx: Transaction, commands: Sequence[Adjust]) -> None:
    """Raise ConfigurationError for a limit that is none."""
    for command in commands:
        known = tx.find_queue(command.queue)
        adjusted(Queue(name=command.queue) if known is None else _said(tx, command.queue)[0], command.changes)


def adjust(tx: Transaction, command: Adjust) -> Answer:
    """Set limits of a queue, over what is declared."""
    known = tx.find_queue(command.queue)
    if known is None:
        return Answer(ok=False, why="unknown")
    declared, changes = _said(tx, command.queue)
    changes = {name: value for name, value in changes.items() if name not in command.reset} | command.changes
    return Answer(ok=True, changed=int(_take_over(tx, declared, changes)))


def _said(tx: Transaction, name: str) -> tuple[Queue, dict[str, Any]]:
    """Return a queue as declared, and what an operator has changed."""
    declared, changes = tx.one("queue_said", (tx.queue(name).number,))
    return rules(name, declared), changes_of(changes)


def _take_over(tx: Transaction, declared: Queue, changes: dict[str, Any], *, anew: bool = False) -> bool:
    """Let these limits hold; tell whether they are others. If so, or `anew`, every parked key has a new look."""
    row = tx.queue(declared.name)
    queue = adjusted(declared, changes)
    text = text_of(queue)
    other = text != row.limits
    tx.run("queue_limits", (text, changes_text(queue, changes), queue.max_depth, row.number))
    tx.refresh(declared.name)
    weigh_all(tx, row.rules, tx.queue(declared.name))
    if other or anew:
        key_states.unpark(tx, tx.queue(declared.name))
        tx.work = True
    return other
