"""Joins the metrics of several processes into one set, with what those that have ended have counted."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable

from outlast.meters.memory import MemoryReader
from outlast.meters.metric import OTHER, Metric, Reading, spread_again

__all__ = ["ProcessReadings"]

_logger = logging.getLogger("outlast.observe")


class ProcessReadings:
    """The sum of the counters, histograms and summaries of all processes that were ever read; gauges of living ones.

    So a counter never falls while its reader lives, and a gauge ends with its process. A process that ends leaves its
    numbers in the sums, no series and no descriptor: the number of series is bounded by `Metric.most`, for all
    processes together, however many there were.

    own: reads the metrics of this process.
    """

    def __init__(self, own: Callable[[], list[Reading]] = list) -> None:
        self._own = own
        self._living: dict[MemoryReader, int] = {}
        self._started = 0
        self._sums = _Sums()
        self._told_broken = False

    def started(self, reader: MemoryReader) -> None:
        """Read the memory of one more process from now on."""
        self._started += 1
        self._living[reader] = self._started

    def ended(self, reader: MemoryReader) -> None:
        """Read the memory of a process that has ended for the last time, keep its sums, and close it."""
        number = self._living.pop(reader, None)
        if number is None:
            return
        self._sums.keep(number, self._read(reader))
        reader.close()

    def read(self) -> list[Reading]:
        """Return the values of all series."""
        living = [(number, self._read(reader)) for reader, number in self._living.items()]
        return self._sums.with_living([(0, self._own()), *living])

    def _read(self, reader: MemoryReader) -> list[Reading]:
        """Return what a process has counted, as far as this release can read its memory."""
        readings = reader.read()
        if reader.broken and not self._told_broken:
            self._told_broken = True
            _logger.warning("metrics of a worker process cannot be read and are left out: %s", reader.broken)
        return readings


class _OneSum:
    """The sums of one series over processes that have ended, by the edges of the newest process that has it."""

    __slots__ = ("edges", "labels", "newest", "values")

    def __init__(self, reading: Reading, labels: tuple[str, ...], number: int) -> None:
        self.labels = labels
        self.edges = reading.edges
        self.newest = number
        self.values: tuple[float, ...] = (0.0,) * len(reading.values)

    def learn(self, reading: Reading, number: int) -> None:
        """Take over the edges of a newer process. Only then: there and back again would make a bucket fall."""
        if number > self.newest:
            self.values = spread_again(self.values, self.edges, reading.edges)
            self.newest, self.edges = number, reading.edges

    def add(self, reading: Reading, values: Iterable[float]) -> tuple[float, ...]:
        """Return these values and those of a reading together."""
        return tuple(map(float.__add__, values, map(float, spread_again(reading.values, reading.edges, self.edges))))


class _Sums:
    """All sums, by the name of the metric and the labels."""

    def __init__(self) -> None:
        self._metrics: dict[str, tuple[int, Metric]] = {}
        self._of: dict[str, dict[tuple[str, ...], _OneSum]] = {}

    def keep(self, number: int, readings: list[Reading]) -> None:
        """Add what the process with this number has counted, which has ended."""
        for each, found in self._learned([(number, readings)]):
            if found is not None:
                found.values = found.add(each, found.values)

    def with_living(self, living: list[tuple[int, list[Reading]]]) -> list[Reading]:
        """Return all sums with what living processes, by their numbers, have counted so far, and their gauges."""
        learned = self._learned(living)  # the edges of all first
        sums: dict[_OneSum, tuple[float, ...]] = {}
        gauges: dict[str, dict[tuple[str, ...], float]] = {}
        for each, found in learned:
            if found is not None:
                sums[found] = found.add(each, sums.get(found, found.values))
            else:
                _join(gauges.setdefault(each.metric.name, {}), each)
        result = []
        for name, (_, metric) in self._metrics.items():
            result += [
                Reading(metric, each.labels, sums.get(each, each.values), each.edges)
                for each in self._of.get(name, {}).values()
            ]
            result += [Reading(metric, labels, (value,)) for labels, value in gauges.get(name, {}).items()]
        return result

    def _learned(self, processes: list[tuple[int, list[Reading]]]) -> list[tuple[Reading, _OneSum | None]]:
        """Return each reading that is one of its metric's, with its sum; None for a gauge."""
        for number, readings in processes:
            for each in readings:
                self._learn_metric(each.metric, number)
        found: list[tuple[Reading, _OneSum | None]] = []
        for number, readings in processes:
            for each in readings:
                metric = self._metrics[each.metric.name][1]
                if (metric.kind, metric.labels) != (each.metric.kind, each.metric.labels):
                    continue
                if metric.kind == "gauge":
                    found.append((each, None))
                elif all(map(math.isfinite, each.values)):
                    found.append((each, self._sum_of(each, number)))
        return found

    def _learn_metric(self, metric: Metric, number: int) -> None:
        """Take over the declaration of a newer process; sums under other labels, or of another kind, are dropped."""
        known = self._metrics.get(metric.name)
        if known is not None and known[0] >= number:
            return
        self._metrics[metric.name] = number, metric
        if known is not None and (known[1].kind, known[1].labels) != (metric.kind, metric.labels):
            self._of.pop(metric.name, None)

    def _sum_of(self, reading: Reading, number: int) -> _OneSum:
        sums = self._of.setdefault(reading.metric.name, {})
        labels = _bounded(reading, sums)
        found = sums.get(labels)
        if found is None:
            found = sums[labels] = _OneSum(reading, labels, number)
        else:
            found.learn(reading, number)
        return found


def _bounded(reading: Reading, known: dict[tuple[str, ...], _OneSum] | dict[tuple[str, ...], float]) -> tuple[str, ...]:
    """Return the labels under which a reading counts: all `other` when there are too many series already."""
    if reading.labels in known or len(known) < reading.metric.most:
        return reading.labels
    return (OTHER,) * len(reading.labels)


def _join(gauges: dict[tuple[str, ...], float], reading: Reading) -> None:
    """Join the gauge of one process with those of the others."""
    labels, (value,) = _bounded(reading, gauges), reading.values
    before = gauges.get(labels)
    if before is None:
        gauges[labels] = value
    else:
        gauges[labels] = max(before, value) if reading.metric.merging == "max" else before + value
