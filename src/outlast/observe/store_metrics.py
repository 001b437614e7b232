"""The metrics that are read from the store: the same in every process that exports them, so that the largest counts."""

from __future__ import annotations

from typing import Final

from outlast.meters.metric import Metric, MetricKind

__all__ = [
    "CONSUMERS",
    "DEAD",
    "DEPTH",
    "DRAIN_RATE",
    "DRAIN_SECONDS",
    "ENDED",
    "JOBS",
    "LIMIT_BYTES",
    "MAX_DEPTH",
    "OBJECTIVE",
    "OLDEST",
    "PAUSED",
    "PROCESS_FIGURES",
    "SAMPLE_AGE",
    "SAMPLE_SECONDS",
    "STORE_METRICS",
    "UP",
    "USED_BYTES",
]

"""How a job ends; each job in one way."""

_declared: Final[list[Metric]] = []


def _of(name: str, about: str, labels: tuple[str, ...], kind: MetricKind = "gauge") -> Metric:
    metric = Metric(name=name, kind=kind, help=about, labels=labels, merging="max")
    _declared.append(metric)
    return metric


_APP, _QUEUE = ("app",), ("app", "queue")

JOBS: Final = _of("outlast_queue_jobs", "Unfinished jobs by state.", ("app", "queue", "state"))
DEPTH: Final = _of("outlast_queue_depth", "Unfinished jobs, as the bound counts them.", _QUEUE)
MAX_DEPTH: Final = _of("outlast_queue_max_depth", "The bound of the depth; absent where there is none.", _QUEUE)
OLDEST: Final = _of("outlast_queue_oldest_seconds", "Seconds that the first ready job has waited.", _QUEUE)
PAUSED: Final = _of("outlast_queue_paused", "1 while the queue is paused, 0 otherwise.", _QUEUE)
CONSUMERS: Final = _of("outlast_queue_consumers", "Workers with a running lease that consume the queue.", _QUEUE)
DRAIN_RATE: Final = _of("outlast_queue_drain_rate", "Jobs that end, per second.", _QUEUE)
DRAIN_SECONDS: Final = _of(
    "outlast_queue_drain_seconds", "Seconds until the queue is empty, as forecast; absent where it never is.", _QUEUE
)
OBJECTIVE: Final = _of("outlast_queue_objective_seconds", "Seconds that a job should wait at most.", _QUEUE)
DEAD: Final = _of("outlast_queue_dead", "Dead letters that are kept.", _QUEUE)
ENDED: Final = _of(
    "outlast_jobs_ended_total", "Jobs that have ended, by outcome.", ("app", "queue", "kind", "outcome"), "counter"
)
UP: Final = _of("outlast_store_up", "1 when the last sample of the store could be taken, 0 otherwise.", _APP)
USED_BYTES: Final = _of("outlast_store_used_bytes", "Bytes that the store uses on its disk or in its memory.", _APP)
LIMIT_BYTES: Final = _of(
    "outlast_store_limit_bytes", "Bytes that the store can use; absent where its server has no bound.", _APP
)
SAMPLE_SECONDS: Final = _of("outlast_sample_seconds", "Seconds that the shown sample of the store took.", _APP)
SAMPLE_AGE: Final = _of("outlast_sample_age_seconds", "Age of the shown sample of the store.", _APP)
PROCESS_FIGURES: Final = _of(
    "outlast_process_figures", "1 when the figures of processes are shown here, 0 when several serve this port.", ()
)

STORE_METRICS: Final = tuple(_declared)
