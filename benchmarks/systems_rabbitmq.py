"""The systems on RabbitMQ: peers on durable queues with persistent messages, and confirms where they have a setting."""

from __future__ import annotations

from benchmarks.system import System, Worker, module, outlast, script

__all__ = ["RABBITMQ"]

UVLOOP = "uvloop==0.23.0"
CLASSIC = "durable classic queue"
QUORUM = "quorum queue"


def _ours(name: str, title: str, settings: str, **more: object) -> System:
    defaults: dict[str, object] = {
        "module": "benchmarks.outlast_jobs",
        "worker": outlast,
        "sync": QUORUM,
        "packages": (),
        "peer": False,
        "jobs": 50_000,
        "singles": 5_000,
        "spreads": True,
    }
    return System(name=name, title=title, store="rabbitmq", settings=settings, **(defaults | more))  # type: ignore[arg-type]


def _peer(name: str, title: str, **more: object) -> System:
    counts: dict[str, object] = {"sync": CLASSIC, "jobs": 10_000, "singles": 2_000, "bulk": None, "gated": True}
    return System(name=name, title=title, store="rabbitmq", **(counts | more))  # type: ignore[arg-type]


def _events(python: str, processes: int) -> list[str]:
    return [each.replace("outlast_jobs", "outlast_events") for each in outlast(python, processes)]


EVENTS: Worker = _events

RABBITMQ: tuple[System, ...] = (
    _ours(
        "outlast-rabbitmq",
        "Outlast on RabbitMQ",
        "defaults: `outlast worker --processes 1`, concurrency 100; `OUTLAST_URL=amqp://...`: the transport",
    ),
    _ours(
        "outlast-bridge",
        "Outlast bridged: jobs",
        "the same with `OUTLAST_URL=redis://...` and `OUTLAST_AMQP_URL`: own jobs go straight to Redis",
        env={"OUTLAST_AMQP_URL": "set"},
    ),
    _ours(
        "outlast-events",
        "Outlast bridged: events",
        "the same; each job is a copy of an event, which was published to an exchange on RabbitMQ and kept in Redis "
        "before it runs",
        module="benchmarks.outlast_events",
        worker=EVENTS,
        env={"OUTLAST_AMQP_URL": "set"},
    ),
    _ours(
        "floor-rabbitmq",
        "floor on RabbitMQ",
        "pika's asyncio connection, mandatory publishes with confirms, prefetch 1,024, one cumulative ack a batch of "
        "at most 256, uvloop",
        module="benchmarks.floor_rabbitmq",
        worker=module("benchmarks.floor_rabbitmq"),
        packages=("pika==1.4.4", "msgspec==0.22.0", UVLOOP),
        spreads=False,
    ),
    _peer(
        "dramatiq-rabbitmq",
        "Dramatiq",
        module="benchmarks.peers.dramatiq",
        worker=script("dramatiq", "benchmarks.peers.dramatiq:broker", "-p", "1", "-t", "8"),
        packages=("dramatiq[rabbitmq]==2.2.1",),
        env={"dramatiq_queue_prefetch": "1000"},
        settings="`-p 1 -t 8`, dramatiq_queue_prefetch=1000, confirm_delivery=True, its own middleware",
    ),
    _peer(
        "taskiq-rabbitmq",
        "taskiq",
        module="benchmarks.peers.taskiq",
        worker=script(
            "taskiq",
            *("worker", "benchmarks.peers.taskiq:broker", "--workers", "1", "--max-async-tasks", "100"),
            *("--max-prefetch", "1000", "--log-level", "WARNING", "--ack-type", "when_executed"),
        ),
        packages=("taskiq==0.13.0", "taskiq-aio-pika==0.6.1", UVLOOP),
        settings="AioPikaBroker(qos=1000), `--workers 1 --max-async-tasks 100 --max-prefetch 1000 --ack-type "
        "when_executed`, no result backend, uvloop; quorum queues are its default",
        sync=QUORUM,
    ),
    _peer(
        "faststream",
        "FastStream",
        module="benchmarks.peers.faststream",
        worker=script("faststream", "run", "benchmarks.peers.faststream:app", "--log-level", "warning"),
        packages=("faststream[rabbit,cli]==0.7.8", UVLOOP),
        settings="prefetch_count 1000, publisher confirms, persist=True, uvloop",
    ),
    _peer(
        "celery-rabbitmq",
        "Celery",
        module="benchmarks.peers.celery",
        worker=script(
            "celery",
            *("-A", "benchmarks.peers.celery", "worker", "-P", "threads", "-c", "2", "-l", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        packages=("celery==5.7.0",),
        jobs=5_000,
        settings="`-P threads -c 2`, worker_prefetch_multiplier 1000, confirm_publish, ignore_result, acks_late, no "
        "events, gossip, mingle, heartbeat",
    ),
)
