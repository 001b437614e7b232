"""The metrics of a worker: declared here, counted by `tally.py`, `worker_gauges.py` and `store_link.py`."""

from __future__ import annotations

from typing import Final

from outlast.core.policy import DEFAULTS
from outlast.meters import meters

__all__ = [
    "BUSY_SLOTS",
    "CALL_SECONDS",
    "JOB_RUN",
    "JOB_WAIT",
    "KIND_BYTES",
    "KIND_CPU",
    "KIND_RUN",
    "KIND_RUNS",
    "LAPSED",
    "LOOP_LAG",
    "NO_TIMEOUT",
    "OBJECTIVES",
    "OUTCOMES",
    "RETRIES",
    "SLOTS",
    "STALE",
    "edges_to",
]

OUTCOMES: Final = ("succeeded", "retried", "snoozed", "released", "dead", "cancelled", "superseded")
"""How a run ends, of which each kind has a series from the start."""
OBJECTIVES: Final = 10
"""The edges of the waits of a queue reach so many times its objective."""
NO_TIMEOUT: Final = 3600.0
"""Seconds that the edges of the runs of a queue reach where a kind has no timeout."""

_STEPS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    120,
    300,
    600,
    1800,
    3600,
    10800,
    43200,
)
_MOST_KINDS: Final = 8000


def edges_to(reach: float, *through: float) -> tuple[float, ...]:
    """Return upper bounds of buckets up to `reach` seconds, with some that must be among them.

    Two or three for each decade: what is between two of them is told to a factor of 2.5, and few are kept.
    """
    return tuple(
        sorted({*(step for step in _STEPS if step < reach), *(each for each in through if each < reach), reach})
    )


_QUEUE: Final = ("app", "queue")
_KIND: Final = ("app", "kind")

JOB_WAIT: Final = meters.histogram(
    "outlast_job_wait_seconds",
    "Seconds from the time that a job was due to the begin of its run, of runs that have ended.",
    _QUEUE,
    edges=edges_to(OBJECTIVES * DEFAULTS.objective),
)
JOB_RUN: Final = meters.histogram(
    "outlast_job_run_seconds", "Seconds of a run that has ended.", _QUEUE, edges=edges_to(DEFAULTS.timeout)
)
KIND_RUNS: Final = meters.counter(
    "outlast_kind_runs_total",
    "Runs whose end the store has recorded, by outcome.",
    (*_KIND, "outcome"),
    most=_MOST_KINDS,
)
KIND_RUN: Final = meters.summary("outlast_kind_run_seconds", "Seconds of the runs that have ended.", _KIND)
KIND_CPU: Final = meters.counter(
    "outlast_kind_cpu_seconds_total",
    "CPU seconds of runs: always in child processes, elsewhere with the setting measure.",
    _KIND,
)
KIND_BYTES: Final = meters.counter("outlast_kind_bytes_total", "Bytes of the arguments and results of runs.", _KIND)
RETRIES: Final = meters.counter("outlast_retries_total", "Failed runs after which their job runs again.", _QUEUE)
STALE: Final = meters.counter(
    "outlast_stale_settlements_total",
    "Runs whose end changed nothing, because their job had been handed out to another holder.",
    _QUEUE,
)
LAPSED: Final = meters.counter(
    "outlast_lapsed_leases_total",
    "Times that a living worker was told that its lease had lapsed and that others have jobs of it.",
    ("app",),
)
SLOTS: Final = meters.gauge("outlast_worker_slots", "Jobs that may run at once, by how they run.", ("app", "group"))
BUSY_SLOTS: Final = meters.gauge("outlast_worker_busy_slots", "Slots that are taken.", ("app", "group"))
LOOP_LAG: Final = meters.gauge(
    "outlast_worker_loop_lag_seconds",
    "How late a timer of the worker's event loop came at worst in the last 15 s.",
    merging="max",
)
CALL_SECONDS: Final = meters.histogram(
    "outlast_store_call_seconds",
    "Seconds of calls to the store that wait for no job, failed ones too.",
    ("operation",),
    edges=edges_to(30),
    most=20,
)
