"""The systems on Redis: the concurrency of each peer is the fastest of those that were tried."""

from __future__ import annotations

from benchmarks.system import System, module, outlast, script

__all__ = ["REDIS"]

UVLOOP = "uvloop==0.23.0"
HIREDIS = "hiredis==3.5.0"
SERVER = "as started here"


def _peer(name: str, title: str, **more: object) -> System:
    return System(name=name, title=title, store="redis", sync=SERVER, **more)  # type: ignore[arg-type]


REDIS: tuple[System, ...] = (
    System(
        name="outlast-redis",
        title="Outlast on Redis",
        store="redis",
        peer=False,
        module="benchmarks.outlast_jobs",
        worker=outlast,
        jobs=50_000,
        singles=5_000,
        spreads=True,
        settings="defaults: `outlast worker --processes 1` (a supervisor and one child), concurrency 100, retention on",
        sync=SERVER,
    ),
    System(
        name="floor-redis",
        title="floor on Redis",
        store="redis",
        peer=False,
        module="benchmarks.floor_redis",
        worker=module("benchmarks.floor_redis"),
        jobs=50_000,
        singles=5_000,
        packages=("redis==8.1.0", HIREDIS, "msgspec==0.22.0", UVLOOP),
        settings="redis-py with hiredis, one script call for a batch of 256; ended jobs are kept as records, beyond "
        "10,000 as tombstones",
        sync=SERVER,
    ),
    _peer(
        "bullmq",
        "BullMQ (Node)",
        gated=True,
        node=True,
        module="benchmarks/peers/bullmq_node.js",
        worker=lambda node, _: [node, "benchmarks/peers/bullmq_node.js", "worker"],
        jobs=20_000,
        singles=5_000,
        bulk=1000,
        packages=("bullmq@6.7.0", "ioredis@5.11.1"),
        env={"BENCH_CONCURRENCY": "500"},
        settings="concurrency 500, removeOnComplete: true; addBulk of 1,000",
    ),
    _peer(
        "bullmq-python",
        "BullMQ (Python)",
        module="benchmarks.peers.bullmq",
        worker=module("benchmarks.peers.bullmq"),
        jobs=5_000,
        singles=5_000,
        bulk=1000,
        packages=("bullmq==3.4.4", HIREDIS, UVLOOP),
        env={"BENCH_CONCURRENCY": "100"},
        settings="concurrency 100, removeOnComplete=True, uvloop; addBulk of 1,000",
    ),
    _peer(
        "huey-redis",
        "huey on Redis",
        gated=True,
        module="benchmarks.peers.huey",
        worker=script("huey_consumer", "benchmarks.peers.huey.queue", "-q", "-k", "thread", "-w", "1"),
        jobs=10_000,
        singles=5_000,
        bulk=None,
        packages=("huey==3.5.4", "redis==8.1.0", HIREDIS),
        settings="RedisHuey, `-k thread -w 1` (4 threads are slower), results=False; it has no acknowledgement: a job "
        "that its consumer took and did not finish is gone",
    ),
    _peer(
        "dramatiq",
        "Dramatiq",
        module="benchmarks.peers.dramatiq",
        worker=script("dramatiq", "benchmarks.peers.dramatiq:broker", "-p", "1", "-t", "8"),
        jobs=10_000,
        singles=5_000,
        bulk=None,
        packages=("dramatiq[redis]==2.2.1", HIREDIS),
        env={"dramatiq_queue_prefetch": "1000"},
        settings="`-p 1 -t 8`, dramatiq_queue_prefetch=1000, its own middleware",
    ),
    _peer(
        "taskiq",
        "taskiq",
        module="benchmarks.peers.taskiq",
        worker=script(
            "taskiq",
            *("worker", "benchmarks.peers.taskiq:broker", "--workers", "1", "--max-async-tasks", "10"),
            *("--max-prefetch", "1000", "--log-level", "WARNING", "--ack-type", "when_executed"),
        ),
        jobs=10_000,
        singles=5_000,
        bulk=None,
        packages=("taskiq==0.13.0", "taskiq-redis==1.2.4", HIREDIS, UVLOOP),
        settings="RedisStreamBroker, `--workers 1 --max-async-tasks 10 --max-prefetch 1000 --ack-type when_executed`, "
        "no result backend, uvloop",
    ),
    _peer(
        "saq",
        "SAQ",
        module="benchmarks.peers.saq",
        worker=script("saq", "benchmarks.peers.saq.settings", "--quiet"),
        jobs=5_000,
        singles=5_000,
        bulk=None,
        packages=("saq[redis,hiredis]==0.26.4", "typing_extensions==4.15.0", UVLOOP),
        env={"BENCH_CONCURRENCY": "100"},
        settings="concurrency 100, max_concurrent_ops 100, ttl=-1 (no result kept), retries=3 (with its own 1, a job "
        "whose worker died is not run again), uvloop",
    ),
    _peer(
        "arq",
        "arq",
        module="benchmarks.peers.arq",
        worker=module("benchmarks.peers.arq"),
        jobs=5_000,
        singles=5_000,
        bulk=None,
        packages=("arq==0.28.0", HIREDIS, UVLOOP),
        env={"BENCH_CONCURRENCY": "500"},
        settings="max_jobs 500, poll_delay 0.01 (its own 0.5 s is its latency), keep_result=0, log_results=False, "
        "uvloop",
    ),
    _peer(
        "streaq",
        "streaq",
        module="benchmarks.peers.streaq",
        worker=script("streaq", "run", "benchmarks.peers.streaq:worker"),
        jobs=5_000,
        singles=5_000,
        bulk=1000,
        packages=("streaq==7.2.0", HIREDIS, UVLOOP),
        env={"BENCH_CONCURRENCY": "16"},
        settings="concurrency 16, prefetch 1,000, ttl=0, silent=True, uvloop; enqueue_many of 1,000",
    ),
    _peer(
        "celery",
        "Celery",
        module="benchmarks.peers.celery",
        worker=script(
            "celery",
            *("-A", "benchmarks.peers.celery", "worker", "-P", "threads", "-c", "2", "-l", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        jobs=5_000,
        singles=5_000,
        bulk=None,
        packages=("celery[redis]==5.7.0", HIREDIS),
        settings="`-P threads -c 2` (prefork is not faster), worker_prefetch_multiplier 1000, ignore_result, acks_late "
        "(as fast as without; without, a job whose worker died is gone), no events, gossip, mingle, heartbeat",
    ),
    _peer(
        "rq",
        "RQ",
        module="benchmarks.peers.rq",
        worker=module("benchmarks.peers.rq"),
        jobs=1_000,
        singles=5_000,
        bulk=1000,
        packages=("rq==3.0.0", HIREDIS),
        settings="SimpleWorker (a fork for each job, its own way, drains a fifth of that), result_ttl=0; enqueue_many "
        "of 1,000",
    ),
)
