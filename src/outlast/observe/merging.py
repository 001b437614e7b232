"""Merges the readings of several processes into one of each series: pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from outlast.meters.metric import Metric, Reading

__all__ = ["cumulative", "merged"]


def merged(readings: Iterable[Reading]) -> list[Reading]:
    """Return one reading of each series: values are added, or the largest counts, as their metric says.

    A series of another kind or with other labels than the first of its name is left out: two releases of an app may
    declare one name in two ways while both run.
    """
    metrics: dict[str, Metric] = {}
    found: dict[tuple[str, tuple[str, ...]], Reading] = {}
    for each in readings:
        metric = metrics.setdefault(each.metric.name, each.metric)
        if (metric.kind, metric.labels) != (each.metric.kind, each.metric.labels):
            continue
        series = (metric.name, each.labels)
        before = found.get(series)
        found[series] = each if before is None else _joined(metric, before, each)
    return list(found.values())


def cumulative(reading: Reading) -> list[float]:
    """Return, for each edge of a histogram and for infinity, how many are up to it."""
    return list(accumulate(reading.values[:-1]))


def _joined(metric: Metric, one: Reading, other: Reading) -> Reading:
    if metric.kind == "histogram" and one.edges != other.edges:
        # Only of an edge that both have it is known how many are up to it.
        edges = tuple(sorted(set(one.edges) & set(other.edges)))
        one, other = _with_edges(one, edges), _with_edges(other, edges)
    join = max if metric.merging == "max" else _add
    values = tuple(join(first, second) for first, second in zip(one.values, other.values, strict=True))
    return Reading(metric, one.labels, values, one.edges)


def _add(one: float, other: float) -> float:
    return one + other


def _with_edges(reading: Reading, edges: Sequence[float]) -> Reading:
    """Return a histogram with fewer edges, of which it has each."""
    up_to = cumulative(reading)
    kept = [up_to[bisect_left(reading.edges, edge)] for edge in edges] + [up_to[-1]]
    counts = [after - before for before, after in zip([0.0, *kept], kept, strict=False)]
    return Reading(reading.metric, reading.labels, (*counts, reading.values[-1]), tuple(edges))
