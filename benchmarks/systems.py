"""The systems that are measured: those on SQLite here, those on Redis and RabbitMQ beside."""

from __future__ import annotations

from benchmarks.system import Patch, System, module, outlast, script
from benchmarks.systems_rabbitmq import RABBITMQ
from benchmarks.systems_redis import REDIS

__all__ = ["SYSTEMS"]

HUEY = ("-q", "-k", "thread", "-w", "1", "-d", "0.01", "-m", "0.05", "-b", "1")
TASKITO = (
    "async job, 8 workers, scheduler_batch_size 100, poll 1 ms, push_dispatch; its own defaults drain some 70 a second"
)

_SQLITE: tuple[System, ...] = (
    System(
        name="outlast",
        peer=False,
        title="Outlast",
        module="benchmarks.outlast_jobs",
        service="benchmarks.outlast_service",
        worker=outlast,
        jobs=50_000,
        singles=5_000,
        backlog=500_000,
        spreads=True,
        settings="defaults: `outlast worker --processes 1` (a supervisor and one child), concurrency 100, retention on",
        sync="FULL by default; nothing set",
    ),
    System(
        name="floor",
        peer=False,
        title="floor, same retention",
        module="benchmarks.floor_sqlite",
        worker=module("benchmarks.floor_sqlite"),
        jobs=50_000,
        singles=5_000,
        backlog=500_000,
        settings="batches of 256; ended jobs are kept as records, beyond 10,000 as tombstones",
        sync="FULL, set",
    ),
    System(
        name="floor-delete",
        peer=False,
        title="floor, no retention",
        module="benchmarks.floor_sqlite",
        worker=module("benchmarks.floor_sqlite", "--delete"),
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
        worker=script("huey_consumer", "benchmarks.peers.huey.queue", *HUEY),
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
        worker=module("benchmarks.peers.taskito"),
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
        worker=module("benchmarks.peers.taskito"),
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
        worker=module("benchmarks.peers.dbos"),
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

SYSTEMS: tuple[System, ...] = (*_SQLITE, *REDIS, *RABBITMQ)
