"""The rows of the tables: the measure, its unit, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.system import Store

__all__ = ["MEASURES", "ROWS", "Measure", "Row"]


@dataclass(frozen=True)
class Measure:
    """One thing to run (a method of the store's bench) and the systems that it is run for.

    repeats: at most so many of the pairs; peer_repeats: at most so many for peers that are not gated.
    together: all systems at once; else they take turns.
    """

    name: str
    store: Store = "sqlite"
    skip: frozenset[str] = frozenset()
    repeats: int | None = None
    peer_repeats: int = 3
    together: bool = False

    @property
    def key(self) -> str:
        """Under which name its samples are kept."""
        return self.name if self.store == "sqlite" else f"{self.store} {self.name}"


@dataclass(frozen=True)
class Row:
    """One line of a table: the field `key` of the samples of `measure`, a Measure's key."""

    measure: str
    key: str
    title: str
    unit: str
    better: Literal["more", "less"]
    store: Store = "sqlite"


PEERS = frozenset(("huey", "taskito", "taskito-full", "dbos"))
FLOORS = frozenset(("floor", "floor-delete"))
RABBIT_FLOOR = frozenset(("floor-rabbitmq",))
REDIS_FLOOR = frozenset(("floor-redis",))
SHALLOW = frozenset(
    ("bullmq-python", "huey-redis", "dramatiq", "taskiq", "saq", "arq", "streaq", "celery", "rq"),
)
"""Not measured with 1,000,000 waiting: to enqueue them takes minutes."""

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
    Measure("single", "redis"),
    Measure("bulk", "redis"),
    Measure("gather", "redis"),
    Measure("drain", "redis"),
    Measure("latency", "redis", skip=REDIS_FLOOR),
    Measure("deep", "redis", skip=SHALLOW, repeats=1),
    Measure("memory", "redis", repeats=1),
    Measure("two", "redis", skip=REDIS_FLOOR, peer_repeats=1),
    Measure("idle", "redis", skip=REDIS_FLOOR, repeats=1),
    Measure("kill", "redis", skip=REDIS_FLOOR, repeats=1, together=True),
    Measure("single", "rabbitmq"),
    Measure("bulk", "rabbitmq"),
    Measure("gather", "rabbitmq"),
    Measure("drain", "rabbitmq"),
    Measure("latency", "rabbitmq", skip=RABBIT_FLOOR, repeats=3),
    Measure("idle", "rabbitmq", skip=RABBIT_FLOOR, repeats=1),
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
    Row("import", "ms", "`import outlast` and one declared job, without the start of the interpreter", "ms", "less"),
    Row("redis single", "rate", "enqueue one by one", "jobs/s", "more", "redis"),
    Row("redis bulk", "rate", "enqueue in bulk", "jobs/s", "more", "redis"),
    Row("redis gather", "rate", "enqueue from 50 coroutines", "jobs/s", "more", "redis"),
    Row("redis drain", "rate", "drain by one worker process", "jobs/s", "more", "redis"),
    Row("redis two", "two", "drain by two worker processes", "jobs/s", "more", "redis"),
    Row("redis two", "ratio", "two worker processes against one in the same run", "times", "more", "redis"),
    Row("redis two", "worked ratio", "the same with jobs of 1 ms of CPU", "times", "more", "redis"),
    Row("redis drain", "cpu", "CPU while draining, worker and server", "s per 1,000 jobs", "less", "redis"),
    Row("redis drain", "server cpu", "of which the server", "s per 1,000 jobs", "less", "redis"),
    Row("redis drain", "rss", "peak memory while draining, all the worker's processes", "MB", "less", "redis"),
    Row("redis latency", "p50", "latency at 200 jobs/s from another process, p50", "ms", "less", "redis"),
    Row("redis latency", "p95", "latency, p95", "ms", "less", "redis"),
    Row("redis latency", "p99", "latency, p99", "ms", "less", "redis"),
    Row("redis deep", "few", "drain, 20,000 waiting", "jobs/s", "more", "redis"),
    Row("redis deep", "many", "drain, 1,000,000 waiting", "jobs/s", "more", "redis"),
    Row("redis deep", "few cpu", "CPU, worker and server, 20,000 waiting", "s per 1,000 jobs", "less", "redis"),
    Row("redis deep", "many cpu", "CPU, worker and server, 1,000,000 waiting", "s per 1,000 jobs", "less", "redis"),
    Row("redis memory", "bytes", "memory of the server for a queued job", "bytes", "less", "redis"),
    Row("redis idle", "cpu", "CPU of an idle worker, all its processes", "%", "less", "redis"),
    Row("redis idle", "requests", "requests of an idle worker", "per second", "less", "redis"),
    Row("redis idle", "rss", "memory of an idle worker, its largest process", "MB", "less", "redis"),
    Row("redis kill", "after", "a job whose worker was killed is run again after", "s", "less", "redis"),
    Row("rabbitmq single", "rate", "enqueue one by one", "jobs/s", "more", "rabbitmq"),
    Row("rabbitmq bulk", "rate", "enqueue in bulk", "jobs/s", "more", "rabbitmq"),
    Row("rabbitmq gather", "rate", "enqueue from 50 coroutines", "jobs/s", "more", "rabbitmq"),
    Row("rabbitmq drain", "rate", "drain by one worker process", "jobs/s", "more", "rabbitmq"),
    Row("rabbitmq drain", "cpu", "CPU while draining, worker and servers", "s per 1,000 jobs", "less", "rabbitmq"),
    Row("rabbitmq drain", "server cpu", "of which the servers", "s per 1,000 jobs", "less", "rabbitmq"),
    Row("rabbitmq drain", "rss", "peak memory while draining, all the worker's processes", "MB", "less", "rabbitmq"),
    Row("rabbitmq latency", "p50", "latency at 200 jobs/s from another process, p50", "ms", "less", "rabbitmq"),
    Row("rabbitmq latency", "p95", "latency, p95", "ms", "less", "rabbitmq"),
    Row("rabbitmq latency", "p99", "latency, p99", "ms", "less", "rabbitmq"),
    Row("rabbitmq idle", "cpu", "CPU of an idle worker, all its processes", "%", "less", "rabbitmq"),
    Row("rabbitmq idle", "rss", "memory of an idle worker, its largest process", "MB", "less", "rabbitmq"),
)
