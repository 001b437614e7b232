"""Declares queues, the kinds that this process can run, and bindings. An operator's changes of limits stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outlast.brokers.sqlite import exchanges, key_states
from outlast.brokers.sqlite.bounds import weigh_all
from outlast.brokers.sqlite.job_rows import RefusedCommand
from outlast.brokers.sqlite.limits import changes_of, changes_text, declaration_of, rules, text_of
from outlast.brokers.sqlite.totals import declare_kinds
from outlast.brokers.sqlite.transaction import Transaction, json_of
from outlast.core.exchanges.changes import added
from outlast.core.store.control import Adjust
from outlast.core.topology import Queue, Topology, adjusted, of_another_app

__all__ = ["adjust", "check", "declare"]


def declare(tx: Transaction, topology: Topology) -> None:
    """Write the queues and bindings; raise ConfigurationError, before anything has changed, for what does not fit."""
    for queue in topology.queues:
        found = tx.find_queue(queue.name)
        if found is not None and not isinstance(found.app, str):
            raise TypeError(f"the app of queue {queue.name!r} is no text")  # it is repaired, and this made again
        if found is not None and topology.app and found.app not in ("", topology.app):
            raise of_another_app(queue.name, found.app, topology.app)
    if topology.exchanges or topology.bindings:
        exchanges.change(tx, added(exchanges.bindings(tx.db), topology.exchanges, topology.bindings))
    if topology.kinds:
        tx.kinds = json_of(topology.kinds)
        tx.changes.add("work")  # claims that wait look again
    for queue in topology.queues:
        keep = queue.retention
        bounds = (keep.record_ttl, keep.records, keep.dead_ttl, keep.id_memory)
        before = tx.find_queue(queue.name)
        if tx.run("queue_declare", (queue.name, *bounds, topology.app, declaration_of(queue), keep.results)):
            tx.refresh(queue.name)
            kept = before is not None and bounds == (
                before.record_ttl, before.records_kept, before.dead_ttl, before.id_memory
            )  # fmt: skip
            _set_limits(tx, queue, _declared(tx, queue.name)[1], unpark=not kept)
        declare_kinds(tx, tx.queue(queue.name), topology.kinds_of.get(queue.name, ()))


def check(tx: Transaction, commands: Sequence[Adjust]) -> None:
    """Raise ConfigurationError for an invalid limit."""
    for command in commands:
        known = tx.find_queue(command.queue)
        adjusted(Queue(name=command.queue) if known is None else _declared(tx, command.queue)[0], command.changes)


def adjust(tx: Transaction, command: Adjust) -> int:
    """Set limits of a queue, over the declared ones; return 1 if any has changed. Raise RefusedCommand."""
    if tx.find_queue(command.queue) is None:
        raise RefusedCommand("unknown")
    declared, changes = _declared(tx, command.queue)
    changes = {name: value for name, value in changes.items() if name not in command.reset} | command.changes
    return int(_set_limits(tx, declared, changes))


def _declared(tx: Transaction, name: str) -> tuple[Queue, dict[str, Any]]:
    """Return a queue as declared, and an operator's changes."""
    declared, changes = tx.one("queue_declared", (tx.queue(name).number,))
    return rules(name, declared), changes_of(changes)


def _set_limits(tx: Transaction, declared: Queue, changes: dict[str, Any], *, unpark: bool = False) -> bool:
    """Set the limits; return whether they differ from before. If so, or if `unpark`, every parked key joins again."""
    row = tx.queue(declared.name)
    queue = adjusted(declared, changes)
    text = text_of(queue)
    differ = text != row.limits
    tx.run("queue_limits", (text, changes_text(queue, changes), queue.max_depth, row.number))
    tx.refresh(declared.name)
    weigh_all(tx, row.rules, tx.queue(declared.name))
    if differ or unpark:
        key_states.unpark(tx, tx.queue(declared.name))
        tx.changes.add("work")
    return differ
