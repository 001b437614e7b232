"""The rows of the table: what is measured of whom, in which unit, and what is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["MEASURES", "ROWS", "Measure", "Row"]


@dataclass(frozen=True)
class Measure:
    """One thing to run (a method of measure.Bench) and whom it is run for."""

    name: str
    skip: frozenset[str] = frozenset()
    repeats: int | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table: the field `key` of the samples of `measure`."""

    measure: str
    key: str
    title: str
    unit: str
    better: Literal["more", "less"]


PEERS = frozenset(("huey", "taskito", "taskito-full", "dbos"))
FLOORS = frozenset(("floor", "floor-delete"))

MEASURES: tuple[Measure, ...] = (
    Measure("single", skip=frozenset(("floor-delete",))),
    Measure("bulk", skip=frozenset(("floor-delete",))),
    Measure("gather", skip=frozenset(("floor-delete",))),
    Measure("drain"),
    Measure("http", skip=FLOORS),
    Measure("latency", skip=FLOORS, repeats=3),
    Measure("busy", skip=FLOORS, repeats=3),
    Measure("idle", skip=FLOORS, repeats=1),
    Measure("deep", skip=PEERS | {"floor-delete"}, repeats=1),
    Measure("import", skip=PEERS | FLOORS, repeats=1),
)

ROWS: tuple[Row, ...] = (
    Row("single", "rate", "enqueue one by one", "jobs/s", "more"),
    Row("bulk", "rate", "enqueue in bulk", "jobs/s", "more"),
    Row("gather", "rate", "enqueue from 50 coroutines", "jobs/s", "more"),
    Row("http", "rate", "enqueue over HTTP, 50 connections", "requests/s", "more"),
    Row("drain", "rate", "drain by one worker process", "jobs/s", "more"),
    Row("drain", "cpu", "CPU while draining", "s per 1,000 jobs", "less"),
    Row("drain", "rss", "peak memory while draining, all its processes", "MB", "less"),
    Row("latency", "p50", "latency at 200 jobs/s from another process, p50", "ms", "less"),
    Row("latency", "p95", "latency, p95", "ms", "less"),
    Row("latency", "p99", "latency, p99", "ms", "less"),
    Row("busy", "p50", "one enqueue while four worker processes drain, p50", "ms", "less"),
    Row("busy", "p99", "one enqueue while four drain, p99", "ms", "less"),
    Row("idle", "cpu", "CPU of an idle worker, all its processes", "%", "less"),
    Row("idle", "rss", "memory of an idle worker, its largest process", "MB", "less"),
    Row("deep", "few", "drain, 20,000 waiting", "jobs/s", "more"),
    Row("deep", "many", "drain, 1,000,000 waiting", "jobs/s", "more"),
    Row("deep", "few cpu", "CPU, 20,000 waiting", "s per 1,000 jobs", "less"),
    Row("deep", "many cpu", "CPU, 1,000,000 waiting", "s per 1,000 jobs", "less"),
    Row("import", "ms", "`import outlast` and one declared job, beyond the interpreter's own start", "ms", "less"),
)
