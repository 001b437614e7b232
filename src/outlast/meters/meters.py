"""The metrics of a process: declared once by a part, counted by anyone, from any thread."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar
from weakref import WeakMethod, WeakSet, ref

from outlast.meters.memory import Memory
from outlast.meters.metric import (
    MOST_EDGES,
    OTHER,
    Merging,
    Metric,
    MetricKind,
    Reading,
    buckets_of,
    label_value,
    size_of,
    spread_again,
)

__all__ = ["Counter", "CountSeries", "Gauge", "GaugeSeries", "Histogram", "HistogramSeries", "Meters", "Summary"]

S = TypeVar("S", bound="_Series")
F = TypeVar("F", bound="_Family[Any]")

_logger = logging.getLogger("outlast.meters")


class _Series:
    """The place of the numbers of one combination of label values."""

    __slots__ = ("_meters", "at", "edges", "labels")

    def __init__(self, meters: Meters, labels: tuple[str, ...], edges: tuple[float, ...]) -> None:
        self._meters = meters
        self.labels = labels
        self.edges = edges
        self.at = 0


class CountSeries(_Series):
    """One series of a counter."""

    __slots__ = ()

    def add(self, number: float = 1.0) -> None:
        """Add a number that is not negative."""
        # Without the lock, which takes twice the time of the rest: CPython lets another thread run at calls and jumps
        # only, and between this read and this write there is none.
        self._meters.numbers[self.at] += number


class GaugeSeries(_Series):
    """One series of a gauge. Without a value it is not shown."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Set the value."""
        self._meters.numbers[self.at] = value

    def add(self, number: float) -> None:
        """Add a number, negative ones too; to 0 when there is no value."""
        meters = self._meters
        with meters.lock:
            value = meters.numbers[self.at]
            meters.numbers[self.at] = number if math.isnan(value) else value + number

    def clear(self) -> None:
        """Have no value any more."""
        self._meters.numbers[self.at] = float("nan")


class SummarySeries(_Series):
    """One series of a summary: how many, and their sum."""

    __slots__ = ()

    def observe(self, value: float, count: int = 1) -> None:
        """Add an observation, or the sum of several."""
        meters = self._meters
        with meters.lock:
            meters.numbers[self.at] += count
            meters.numbers[self.at + 1] += value


class HistogramSeries(_Series):
    """One series of a histogram."""

    __slots__ = ()

    def observe(self, *values: float) -> None:
        """Add observations; many at once cost much less than one by one."""
        if not values:
            return
        counts = buckets_of(values, self.edges)
        meters = self._meters
        with meters.lock:
            at, numbers = self.at, meters.numbers
            for bucket, count in counts:
                numbers[at + bucket] += count
            numbers[at + len(self.edges) + 1] += sum(values)


class _Family(Generic[S]):
    """The series of one metric."""

    def __init__(self, meters: Meters, metric: Metric, series: type[S]) -> None:
        self._meters = meters
        self.metric: Final = metric
        self._type = series
        self._of: dict[tuple[object, ...], S] = {}
        self._made: dict[tuple[str, ...], S] = {}

    def of(self, *labels: object) -> S:
        """Return the series of these label values, in the order of the labels; always the same object."""
        found = self._of.get(labels)
        return found if found is not None else self._make(labels, self.metric.edges)

    def _make(self, given: tuple[object, ...], edges: Sequence[float]) -> S:
        if len(given) != len(self.metric.labels):
            raise ValueError(f"metric {self.metric.name!r} has the labels {self.metric.labels}, not {given!r}")
        labels = tuple(map(label_value, given))
        with self._meters.lock:
            if labels not in self._made and len(self._made) >= self.metric.most:
                labels = (OTHER,) * len(labels)
            series = self._made.get(labels)
            if series is None:
                series = self._made[labels] = self._type(self._meters, labels, tuple(edges)[:MOST_EDGES])
                self._meters.place(self.metric, series)
            if len(self._of) < 2 * self.metric.most:
                self._of[given] = series
            return series

    @property
    def series(self) -> list[S]:
        """All series that there are."""
        return list(self._made.values())


class Counter(_Family[CountSeries]):
    """A number that only grows."""


class Gauge(_Family[GaugeSeries]):
    """A number that goes up and down."""


class Summary(_Family[SummarySeries]):
    """How many, and their sum."""


class Histogram(_Family[HistogramSeries]):
    """How many, by size."""

    def with_edges(self, edges: Iterable[float], *labels: object) -> HistogramSeries:
        """Return the series of these label values; one that is new gets these upper bounds of its buckets."""
        found = self._of.get(labels)
        return found if found is not None else self._make(labels, sorted(set(edges)))


class Meters:
    """All metrics of a process. `meters` is the one that the parts use; a test may have its own.

    lock: held while a number changes, but that of a counter. It is reentrant: a signal handler or a finalizer may count
    in the same thread meanwhile. numbers: where they are.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._memory = Memory()
        self.numbers = self._memory.numbers
        self._families: dict[str, _Family[Any]] = {}
        self._placed: list[tuple[Metric, _Series]] = []
        self._refreshers: list[Callable[[], Callable[[], object] | None]] = []
        self._failed: list[object] = []
        self._told_full = False
        _all.add(self)

    def counter(self, name: str, about: str, labels: Sequence[str] = (), *, most: int = 1000) -> Counter:
        """Declare a counter; a part does that once, when it is imported. Raise ValueError for another declaration."""
        metric = Metric(name=name, kind="counter", help=about, labels=tuple(labels), most=most)
        return self._declare(Counter(self, metric, CountSeries))

    def gauge(
        self, name: str, about: str, labels: Sequence[str] = (), *, merging: Merging = "sum", most: int = 1000
    ) -> Gauge:
        """Declare a gauge. merging: how those of several processes become one."""
        metric = Metric(name=name, kind="gauge", help=about, labels=tuple(labels), merging=merging, most=most)
        return self._declare(Gauge(self, metric, GaugeSeries))

    def summary(self, name: str, about: str, labels: Sequence[str] = (), *, most: int = 1000) -> Summary:
        """Declare a summary."""
        metric = Metric(name=name, kind="summary", help=about, labels=tuple(labels), most=most)
        return self._declare(Summary(self, metric, SummarySeries))

    def histogram(
        self, name: str, about: str, labels: Sequence[str] = (), *, edges: Sequence[float], most: int = 1000
    ) -> Histogram:
        """Declare a histogram. edges: the upper bounds of its buckets, ascending, without infinity."""
        metric = Metric(name=name, kind="histogram", help=about, labels=tuple(labels), edges=tuple(edges), most=most)
        return self._declare(Histogram(self, metric, HistogramSeries))

    def _declare(self, family: F) -> F:
        with self.lock:
            known = self._families.setdefault(family.metric.name, family)
        if known.metric != family.metric or not isinstance(known, type(family)):
            raise ValueError(f"metric {family.metric.name!r} is declared twice, and not alike")
        return known

    @property
    def declared(self) -> list[Metric]:
        """All metrics that parts have declared, with and without series."""
        return [each.metric for each in list(self._families.values())]

    def place(self, metric: Metric, series: _Series) -> None:
        """Give a new series its numbers. The caller holds the lock."""
        series.at = self._memory.add_series(metric, series.labels, series.edges)
        self._placed.append((metric, series))
        if not series.at and not self._told_full:
            self._told_full = True
            _logger.warning(
                "the memory for metrics is full: %s%s and further series are not shown", metric.name, series.labels
            )

    def share(self, fd: int) -> None:
        """Have all numbers, those counted so far too, in the memory of `create_shared` from now on."""
        self._move(Memory(fd), keep=True)

    def _move(self, memory: Memory, *, keep: bool) -> None:
        with self.lock:
            for metric, series in self._placed:
                before, size = series.at, size_of(metric, series.edges)
                at = memory.add_series(metric, series.labels, series.edges)
                if keep and before and at:
                    memory.numbers[at : at + size] = self.numbers[before : before + size]
                series.at = at
            self._memory, self.numbers = memory, memory.numbers

    def read(self) -> list[Reading]:
        """Return the values of all series of this process, but of gauges without a value."""
        self.refresh()
        found = []
        with self.lock:
            for metric, series in self._placed:
                values = tuple(self.numbers[series.at : series.at + size_of(metric, series.edges)])
                if series.at and (metric.kind != "gauge" or not math.isnan(values[0])):
                    found.append(Reading(metric, series.labels, values, series.edges))
        return found

    def before_reading(self, refresh: Callable[[], object]) -> None:
        """Call this before each reading, to set gauges; a bound method for as long as its object lives."""
        made = WeakMethod(refresh) if hasattr(refresh, "__self__") else ref(refresh)
        self._refreshers.append(made)

    def refresh(self) -> None:
        """Let all parts set their gauges. One that fails is logged once: it must not end what reads."""
        for made in list(self._refreshers):
            refresh = made()
            if refresh is None:
                self._refreshers.remove(made)
                continue
            try:
                refresh()
            except Exception:
                if made not in self._failed:
                    self._failed.append(made)
                    _logger.exception("gauges could not be set")

    # Between processes

    def take(self) -> list[Reading]:
        """Return what was counted since the last call, for `add` of another process; it begins at 0 here then.

        Without gauges, and without what has counted nothing.
        """
        found = []
        with self.lock:
            for metric, series in self._placed:
                values = tuple(self.numbers[series.at : series.at + size_of(metric, series.edges)])
                if metric.kind != "gauge" and series.at and any(values):
                    found.append(Reading(metric, series.labels, values, series.edges))
                    for at, value in enumerate(values, series.at):
                        self.numbers[at] -= value  # a counter may have grown meanwhile
        return found

    def add(self, readings: Iterable[Reading]) -> None:
        """Count what `take` of another process has returned. Raise ValueError for a metric that is another one here."""
        for each in readings:
            family = self._declare(_FAMILIES[each.metric.kind](self, each.metric))
            series = family._make(each.labels, each.edges)
            values = spread_again(each.values, each.edges, series.edges)
            with self.lock:
                for at, value in enumerate(values, series.at):
                    self.numbers[at] += value

    def forked(self) -> None:
        """Begin at 0 in a process that was forked from one that counts: what that has counted is its own."""
        self.lock = threading.RLock()
        self._move(Memory(), keep=False)


_FAMILIES: Final[dict[MetricKind, Callable[[Meters, Metric], _Family[Any]]]] = {
    "counter": lambda owner, metric: Counter(owner, metric, CountSeries),
    "gauge": lambda owner, metric: Gauge(owner, metric, GaugeSeries),
    "summary": lambda owner, metric: Summary(owner, metric, SummarySeries),
    "histogram": lambda owner, metric: Histogram(owner, metric, HistogramSeries),
}

_all: Final[WeakSet[Meters]] = WeakSet()


def _forked() -> None:
    for each in list(_all):
        each.forked()


os.register_at_fork(after_in_child=_forked)

meters: Final = Meters()
"""Of this process."""
