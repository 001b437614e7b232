"""The systems that are measured: how each is set and started, and how many jobs a run of it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SYSTEMS", "Patch", "System"]

Worker = Callable[[str, int], list[str]]


@dataclass(frozen=True)
class Patch:
    """A change to one installed file: `old` is there once, `new` is as long."""

    file: str
    old: bytes
    new: bytes


@dataclass(frozen=True, kw_only=True)
class System:
    """One system. settings and sync are told below the table.

    packages: pinned, for a virtual environment of its own; none: it runs in ours, and is measured once a pair.
    jobs: in one drain. singles: one by one, over HTTP and from 50 coroutines. backlog: for four draining processes.
    service: a module with an `application()` of its own, for HTTP. bulk: jobs in one bulk call, None without one.
    spreads: its worker command takes the number of processes.
    """

    name: str
    title: str
    module: str
    worker: Worker
    jobs: int
    singles: int
    backlog: int
    settings: str
    sync: str
    packages: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    service: str | None = None
    bulk: int | None = 500
    spreads: bool = False
    patch: Patch | None = None

    @property
    def ours(self) -> bool:
        """Whether it runs in our own environment."""
        return not self.packages


def _outlast(python: str, processes: int) -> list[str]:
    command = str(Path(python).with_name("outlast"))
    return [python, command, "worker", "benchmarks.outlast_jobs:shop", "--processes", str(processes)]


def _module(module: str, *more: str) -> Worker:
    return lambda python, processes: [python, "-m", module, *more]


def _huey(python: str, processes: int) -> list[str]:
    command = str(Path(python).with_name("huey_consumer"))
    threads, polls = ["-k", "thread", "-w", "1"], ["-d", "0.01", "-m", "0.05", "-b", "1"]
    return [python, command, "benchmarks.peers.huey.queue", "-q", *threads, *polls]


TASKITO = (
    "async job, 8 workers, scheduler_batch_size 100, poll 1 ms, push_dispatch; its own defaults drain some 70 a second"
)

SYSTEMS: tuple[System, ...] = (
    System(
        name="outlast",
        title="Outlast",
        module="benchmarks.outlast_jobs",
        service="benchmarks.outlast_service",
        worker=_outlast,
        jobs=50_000,
        singles=5_000,
        backlog=500_000,
        spreads=True,
        settings="defaults: `outlast worker --processes 1` (a supervisor and one child), concurrency 100, retention on",
        sync="FULL by default; nothing set",
    ),
    System(
        name="floor",
        title="floor, same retention",
        module="benchmarks.floor_sqlite",
        worker=_module("benchmarks.floor_sqlite"),
        jobs=50_000,
        singles=5_000,
        backlog=500_000,
        settings="batches of 256; ended jobs are kept as records, beyond 10,000 as tombstones",
        sync="FULL, set",
    ),
    System(
        name="floor-delete",
        title="floor, no retention",
        module="benchmarks.floor_sqlite",
        worker=_module("benchmarks.floor_sqlite", "--delete"),
        jobs=50_000,
        singles=5_000,
        backlog=500_000,
        settings="batches of 256; ended jobs are deleted",
        sync="FULL, set",
    ),
    System(
        name="huey",
        title="huey",
        module="benchmarks.peers.huey",
        worker=_huey,
        jobs=5_000,
        singles=5_000,
        backlog=24_000,
        bulk=None,
        packages=("huey==3.5.4",),
        settings="SqliteHuey, `-k thread -w 1` (4 threads are slower), polls from 10 ms, results=False; it has no "
        "acknowledgement: a job that its consumer took and did not finish is gone",
        sync="fsync=True (FULL); by default it leaves SQLite's own, FULL in most builds",
    ),
    System(
        name="taskito",
        title="taskito, as shipped",
        module="benchmarks.peers.taskito",
        worker=_module("benchmarks.peers.taskito"),
        jobs=5_000,
        singles=5_000,
        backlog=32_000,
        packages=("taskito==0.22.0",),
        settings=TASKITO,
        sync="NORMAL: compiled in, no setting. Its commits are not synced, so a power cut loses accepted jobs",
    ),
    System(
        name="taskito-full",
        title="taskito, FULL",
        module="benchmarks.peers.taskito",
        worker=_module("benchmarks.peers.taskito"),
        jobs=5_000,
        singles=5_000,
        backlog=32_000,
        packages=("taskito==0.22.0",),
        settings=TASKITO,
        sync="FULL, by changing the one constant in the installed library, as there is no setting",
        patch=Patch("taskito/_taskito*.so", b"PRAGMA synchronous = NORMAL", b"PRAGMA synchronous = FULL  "),
    ),
    System(
        name="dbos",
        title="DBOS",
        module="benchmarks.peers.dbos",
        worker=_module("benchmarks.peers.dbos"),
        jobs=2_000,
        singles=1_000,
        backlog=14_000,
        bulk=100,
        packages=("dbos==3.4.0",),
        settings="WAL set on the file (it leaves the rollback journal), polling_interval_sec 0.01, no "
        "worker_concurrency (with a bound of 100 it drains half as fast); bulk: enqueue_in_transaction, 100 at a time",
        sync="FULL, SQLite's own default; nothing set",
    ),
)
