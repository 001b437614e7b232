"""What a metric is, and how the values of several processes become one."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from outlast.core.text import short

__all__ = [
    "MOST_EDGES",
    "OTHER",
    "Merging",
    "Metric",
    "MetricKind",
    "Reading",
    "buckets_of",
    "label_value",
    "size_of",
    "spread_again",
]

MetricKind = Literal["counter", "gauge", "histogram", "summary"]
Merging = Literal["sum", "max"]

OTHER: Final = "other"
"""The label value of what has no series of its own."""
_LONGEST_VALUE: Final = 120
MOST_EDGES: Final = 60
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


class Metric(Struct, frozen=True, kw_only=True):
    """The declaration of a metric, in Prometheus' terms; the name of a counter ends with `_total`.

    merging: how the gauges of several processes become one. All other kinds are added up, those of processes that have
    ended too. most: series beyond this number are counted in the one whose labels are all `other`.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    """The upper bounds of the buckets of a histogram, ascending, without infinity, where a series has none of its
    own."""
    merging: Merging = "sum"
    most: int = 1000

    def __post_init__(self) -> None:
        for name in (self.name, *self.labels):
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"metric {self.name!r}: {name!r} is no name of a metric or a label")
        if (self.kind == "counter") != self.name.endswith("_total"):
            raise ValueError(f"metric {self.name!r}: a counter, and nothing else, ends with '_total'")
        if (self.kind == "histogram") != bool(self.edges) or list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"metric {self.name!r}: edges={self.edges}: a histogram has ascending ones, others none")


class Reading(Struct, frozen=True):
    """The values of one series: one number; count and sum of a summary; the buckets and the sum of a histogram.

    edges: of a histogram, which has one bucket more than edges: what is above all of them. No bucket counts what is in
    another.
    """

    metric: Metric
    labels: tuple[str, ...]
    values: tuple[float, ...]
    edges: tuple[float, ...] = ()


def label_value(text: object) -> str:
    """Return what a label shows of a value: one line of bounded length, without control characters."""
    return short(str(text), _LONGEST_VALUE)


def size_of(metric: Metric, edges: Sequence[float]) -> int:
    """Return how many numbers a series of this metric has."""
    return len(edges) + 2 if metric.kind == "histogram" else 2 if metric.kind == "summary" else 1


def buckets_of(values: Sequence[float], edges: Sequence[float]) -> list[tuple[int, int]]:
    """Return the buckets that these values are in, by number, with how many are in each. values: at least one."""
    first, last = bisect_left(edges, min(values)), bisect_left(edges, max(values))
    if first == last:
        return [(first, len(values))]
    ordered, before, found = sorted(values), 0, []
    for bucket in range(first, last):
        below = bisect_right(ordered, edges[bucket])
        found.append((bucket, below - before))
        before = below
    return [*found, (last, len(values) - before)]


def spread_again(values: Sequence[float], edges: Sequence[float], others: Sequence[float]) -> tuple[float, ...]:
    """Return the values of a histogram for other edges: a bucket counts in the first one that reaches as high.

    So how many are at most at an edge that both have stays the same. What is no histogram has no edges, and is
    returned as it is.
    """
    if tuple(edges) == tuple(others):
        return tuple(values)
    found = [0.0] * (len(others) + 2)
    for edge, count in zip(edges, values, strict=False):
        found[bisect_left(others, edge)] += count
    found[len(others)] += values[len(edges)]
    found[-1] = values[-1]
    return tuple(found)
