"""What was measured, as it is kept in results.json, and how a figure is written."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec

__all__ = ["Measured", "Results", "Run", "cell", "number"]


class Run(msgspec.Struct, frozen=True):
    """One call of benchmarks.run. part: of the jobs of systems.py; at: UTC."""

    at: str
    pairs: int
    part: float
    machine: dict[str, str]


class Measured(msgspec.Struct, frozen=True):
    """The samples of one measurement, by system, in the order in which they were taken."""

    run: Run
    samples: dict[str, list[dict[str, Any]]]


class Results(msgspec.Struct):
    """All that is kept in results.json."""

    rows: dict[str, Measured] = {}
    versions: dict[str, dict[str, str]] = {}
    errors: list[str] = []

    def values(self, system: str, measure: str, key: str) -> list[float]:
        """Return every value of one cell."""
        measured = self.rows.get(measure)
        samples = measured.samples.get(system, []) if measured else []
        return [float(sample[key]) for sample in samples if key in sample]

    def middle(self, system: str, measure: str, key: str) -> float | None:
        """Return the median of one cell, None if it was not measured."""
        values = self.values(system, measure, key)
        return median(values) if values else None


def number(value: float) -> str:
    """Return a figure with about three digits that matter."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}"


def cell(values: Sequence[float]) -> str:
    """Return the median, with the lowest and the highest."""
    if not values:
        return ""
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))}-{number(max(values))})"
