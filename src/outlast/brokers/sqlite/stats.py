"""Counts the jobs of queues, from their counters and from indexes with few rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from outlast.brokers.sqlite.limits import changes_of, needs_in
from outlast.brokers.sqlite.loads import backlog_of, live_offers, samples_of
from outlast.brokers.sqlite.statements import statements
from outlast.brokers.sqlite.transaction import PARKED, SCHEDULED, QueueRow
from outlast.core.forecast import forecast_of, permits_in
from outlast.core.limits import nanos
from outlast.core.select import QueueState
from outlast.core.store.broker import QueueStats
from outlast.core.topology import limits_of

__all__ = ["stats"]


def stats(db: apsw.Connection, names: Sequence[str], now: float, mono: float, boot: str) -> dict[str, QueueStats]:
    """Return the counts of these queues, of all when `names` is empty."""
    sql = statements()

    def one(name: str, values: Sequence[Any]) -> Any:
        return db.execute(sql[name], values).get

    consumers: dict[str, int] = {}
    found: dict[str, QueueStats] = {}
    with db:
        for (queues,) in db.execute(sql["live_holders"], (boot, mono)):
            for name in msgspec.json.decode(queues):
                consumers[name] = consumers.get(name, 0) + 1
        offers = live_offers(db, boot, mono)
        for name in names or [name for (name,) in db.execute(sql["queue_names"])]:
            row: list[Any] = db.execute(sql["queue_row"], (name,)).fetchall()
            if not row:
                continue
            queue = QueueRow(*row[0])
            running = one("running_count", (queue.number,))
            scheduled = one("scheduled_count", (queue.number, SCHEDULED, now))
            parked = one("scheduled_count", (queue.number, PARKED, now))
            aside = one("aside_count", (queue.number,))
            ready = queue.depth - running - scheduled - parked - aside
            first = one("first_ready", (queue.number, now))
            if queue.back and (of_keys := one("first_of_lanes", (queue.number,))) is not None:
                first = of_keys if first is None else min(first, of_keys)
            rules = queue.rules
            declared, changes = one("queue_declared", (queue.number,))
            keys, keys_held = one("lanes_waiting", (queue.number,)) if queue.back else (0, 0)
            found[name] = QueueStats(
                depth=queue.depth,
                ready=ready,
                scheduled=scheduled,
                running=running,
                parked=parked,
                successors=one("successor_count", (queue.number,)) if queue.uniques else 0,
                dead=queue.dead,
                oldest=max(0.0, now - first) if first is not None else 0.0,
                drain_rate=queue.drain_rate(now),
                paused=bool(queue.paused),
                consumers=consumers.get(name, 0),
                max_depth=queue.max_depth,
                bytes=queue.bytes if queue.rules.max_bytes is not None else None,
                max_bytes=queue.rules.max_bytes,
                shed=queue.shed,
                keys=keys,
                keys_held=keys_held,
                held=QueueState(rules, running=running, tat=queue.tat).held(nanos(now)),
                limits=limits_of(rules),
                changed=tuple(sorted(changes_of(changes))),
                needs=needs_in(declared),
                forecast=forecast_of(
                    offers.get(name, ()),
                    samples_of(db, queue.number),
                    backlog_of(queue, now, ready, running),
                    paused=bool(queue.paused),
                    consumers=consumers.get(name, 0),
                ),
                permits=permits_in(offers.get(name, ())),
            )
    return found
