"""What live workers can do for a queue, and how much it has to do: the input of core.forecast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from outlast.brokers.sqlite.statements import statements
from outlast.brokers.sqlite.transaction import DRAIN_TAU, PARKED, SCHEDULED, QueueRow, Transaction, json_of
from outlast.core.admission import ahead_of_key, too_late
from outlast.core.forecast import Backlog, Offer, Pace, Sample, measured, with_sample
from outlast.core.message import Holder, Message
from outlast.core.settlement import Full
from outlast.core.unreadable import READ_ERRORS

__all__ = ["backlog_of", "ends_of", "has_news", "live_offers", "pace_of", "samples_of", "take_loads", "wait_refusal"]

_loads: Final = msgspec.json.Decoder(dict[str, Offer]).decode
_samples: Final = msgspec.json.Decoder(tuple[Sample, ...]).decode
_names: Final = msgspec.json.Decoder(list[str]).decode


def has_news(tx: Transaction, holder: Holder) -> bool:
    """Return whether the holder tells what the file does not have."""
    return holder.loads is not None and tx.loads.get(holder.id) is not holder.loads


def take_loads(tx: Transaction, holder: Holder, number: int, queues: Iterable[str]) -> None:
    """Write what a holder can do, and a sample of each of these queues."""
    assert holder.loads is not None
    tx.run("holder_loads", (json_of(holder.loads), number))
    tx.loads[holder.id] = holder.loads
    offers = live_offers(tx.db, tx.boot, tx.mono)
    for name in queues:
        row = tx.find_queue(name)
        if row is None:
            continue
        before = samples_of(tx.db, row.number)
        slots = sum(each.slots for each in offers.get(name, ()))
        after = with_sample(before, Sample(tx.now, tx.depth(row), tx.ended(row), slots))
        if after is not before:
            tx.run("queue_sampled", (json_of(after), row.number))


def live_offers(db: Any, boot: str, mono: float) -> dict[str, list[Offer]]:
    """Return what the live holders can do, by queue; what cannot be read is left out."""
    offers: dict[str, list[Offer]] = {}
    for queues, loads in db.execute(statements()["live_loads"], (boot, mono)).fetchall():
        try:
            able, claimed = _loads(loads), _names(queues)
        except READ_ERRORS:
            continue
        for name in claimed:
            if name in able:
                offers.setdefault(name, []).append(able[name])
    return offers


def samples_of(db: Any, queue: int) -> Sequence[Sample]:
    """Return the samples of a queue; none if they cannot be read."""
    text = db.execute(statements()["queue_samples"], (queue,)).get
    try:
        return () if text is None else _samples(text)
    except READ_ERRORS:
        return ()


def pace_of(tx: Transaction, queue: QueueRow) -> Pace:
    """Return how fast a queue moves, as this transaction found it first."""
    pace = tx.paces.get(queue.number)
    if pace is None:
        pace = tx.paces[queue.number] = _pace(tx, queue)
    return pace


def _pace(tx: Transaction, queue: QueueRow) -> Pace:
    offers = live_offers(tx.db, tx.boot, tx.mono).get(queue.name, ())
    now = Sample(tx.now, tx.depth(queue), tx.ended(queue))
    backlog = Backlog(now, 0, 0, queue.rules.concurrency, queue.rules.rate)
    return measured(offers, samples_of(tx.db, queue.number), backlog)


def ends_of(tx: Transaction, queue: QueueRow) -> float:
    """Return the jobs of a queue that end in a second: of late, if no more is known; 0 if no worker takes its jobs."""
    ends = pace_of(tx, queue).ends
    if ends is not None:
        return ends
    return queue.drain_rate(tx.now) if _is_served(tx, queue.name) else 0.0


def _is_served(tx: Transaction, queue: str) -> bool:
    """Return whether a live holder has slots for a queue, or claims from it and does not tell."""
    if any(each.slots for each in live_offers(tx.db, tx.boot, tx.mono).get(queue, ())):
        return True
    return any(queue in _claimed(queues) for (queues,) in tx.rows("live_untold", (tx.boot, tx.mono)))


def _claimed(queues: str) -> list[str]:
    """Return the queues in a text; none if it cannot be read."""
    try:
        return _names(queues)
    except READ_ERRORS:
        return []


def wait_refusal(tx: Transaction, queue: QueueRow, message: Message, key_row: int | None) -> Full | None:
    """Return the refusal of a message that would not begin within its `max_wait`, None if it may.

    The jobs are counted only if their number can decide.
    """
    assert message.max_wait is not None
    if queue.paused:
        return None
    pace, depth = pace_of(tx, queue), tx.depth(queue)
    if too_late(pace, depth, 0, message.max_wait) is None:
        return None
    running = tx.one("running_count", (queue.number,))
    later = sum(tx.one("scheduled_count", (queue.number, state, tx.now)) for state in (SCHEDULED, PARKED))
    ready = depth - running - later - tx.one("aside_count", (queue.number,))
    if key_row is not None:
        in_ring, held = tx.one("lanes_waiting", (queue.number,))
        ready = ahead_of_key(ready, tx.one("lane_ready", (key_row, ready + 1)), in_ring + held + 1)
    return too_late(pace, ready, running, message.max_wait)


def backlog_of(queue: QueueRow, now: float, ready: int, running: int) -> Backlog:
    """Return what a queue has to do."""
    rules = queue.rules
    sample = Sample(now, queue.depth, queue.drain_rate(now) * DRAIN_TAU)
    return Backlog(sample, ready, running, rules.concurrency, rules.rate)
