"""What a metric is, and how the values of several processes become one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from outlast.core.text import short

__all__ = ["MOST_EDGES", "OTHER", "Merging", "Metric", "MetricKind", "Reading", "label_value", "size_of"]

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
