"""Turns a sample of the store into the values of its metrics: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from outlast.core.kinds import name_of
from outlast.core.policy import DEFAULTS
from outlast.core.space import Space
from outlast.core.store.broker import QueueStats
from outlast.core.store.totals import OUTCOMES
from outlast.meters.metric import Metric, Reading, label_value
from outlast.observe import store_metrics as shown
from outlast.observe.declared import DeclaredQueues

__all__ = ["OutcomeTotals", "StoreSample", "away", "readings_of"]

OutcomeTotals = Mapping[tuple[str, str, str], int]
"""Ended jobs by (queue, kind, outcome)."""


_COUNTED_BY_ALL: Final = (shown.DEPTH, shown.CONSUMERS, shown.DEAD)


class StoreSample(Struct, frozen=True):
    """What the store told at one moment. at, seconds: when it was begun, by the monotonic clock, and how long it took.

    totals: None where the store keeps none. space: None where it cannot be told. counts_all: whether it tells more of a
    queue than its ready jobs, dead letters and consumers; the other counts are not known then, though they are 0.
    """

    at: float
    seconds: float
    stats: Mapping[str, QueueStats]
    totals: OutcomeTotals | None = None
    space: Space | None = None
    counts_all: bool = True


def away(app: str) -> list[Reading]:
    """Return what is shown of a store that cannot be read."""
    return [_one(shown.UP, 0, app)]


def readings_of(sample: StoreSample, declared: DeclaredQueues, now: float) -> list[Reading]:
    """Return what is shown of a sample. now: by the monotonic clock.

    Queues that the app does not declare belong to another one, which shows them.
    """
    app = declared.app
    found = [_one(shown.UP, 1, app)]
    found.append(_one(shown.SAMPLE_SECONDS, sample.seconds, app))
    found.append(_one(shown.SAMPLE_AGE, max(0.0, now - sample.at), app))
    if sample.space is not None:
        found.append(_one(shown.USED_BYTES, sample.space.used, app))
        if sample.space.limit is not None:
            found.append(_one(shown.LIMIT_BYTES, sample.space.limit, app))
    for queue in declared.kinds:
        if (stats := sample.stats.get(queue)) is not None:
            found.extend(_of_queue(stats, app, queue, counts_all=sample.counts_all))
            found.append(_one(shown.OBJECTIVE, declared.objectives.get(queue, DEFAULTS.objective), app, queue))
    if sample.totals is not None:
        found.extend(_ended(sample.totals, declared))
    return found


def _one(metric: Metric, value: float, *labels: str) -> Reading:
    return Reading(metric, tuple(map(label_value, labels)), (float(value),))


def _of_queue(stats: QueueStats, app: str, queue: str, *, counts_all: bool) -> Iterator[Reading]:
    states = {
        "ready": stats.ready,
        "scheduled": stats.scheduled,
        "running": stats.running,
        "parked": stats.parked,
        "waiting": stats.successors,
    }
    for state, number in states.items():
        if counts_all or state == "ready":
            yield _one(shown.JOBS, number, app, queue, state)
    values: tuple[tuple[Metric, float | None], ...] = (
        (shown.DEPTH, stats.depth),
        (shown.MAX_DEPTH, stats.max_depth),
        (shown.OLDEST, stats.oldest),
        (shown.PAUSED, stats.paused),
        (shown.CONSUMERS, stats.consumers),
        (shown.DRAIN_RATE, stats.drain_rate),
        (shown.DRAIN_SECONDS, stats.forecast.empty_in),
        (shown.DEAD, stats.dead),
    )
    for metric, value in values:
        if value is not None and (counts_all or metric in _COUNTED_BY_ALL):
            yield _one(metric, value, app, queue)


def _ended(totals: OutcomeTotals, declared: DeclaredQueues) -> Iterator[Reading]:
    """Yield each declared kind and outcome, from 0 on: an alert sees no first failure of a series that begins at 1."""
    found: dict[tuple[str, str, str], int] = {}
    for queue, kinds in declared.kinds.items():
        found |= {(queue, label_value(kind), outcome): 0 for kind in kinds for outcome in OUTCOMES}
    for (queue, kind, outcome), number in totals.items():
        if queue in declared.kinds:
            name = label_value(name_of(kind))  # all versions of a kind are one series
            found[queue, name, outcome] = found.get((queue, name, outcome), 0) + number
    for (queue, kind, outcome), number in found.items():
        yield _one(shown.ENDED, number, declared.app, queue, kind, outcome)
