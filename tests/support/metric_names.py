"""The metrics that rules and dashboards read: their kinds and labels, and how those of several exporters become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "Shown"]


@dataclass(frozen=True)
class Shown:
    """One metric. merging: `max` of a figure that every exporter reads from the store, `sum` of one of processes."""

    kind: Literal["counter", "gauge", "histogram", "summary"]
    labels: tuple[str, ...]
    merging: Literal["max", "sum"] = "sum"


_QUEUE = ("app", "queue")
_STORE_GAUGES = (
    *("depth", "max_depth", "oldest_seconds", "paused", "consumers", "drain_rate", "drain_seconds"),
    *("objective_seconds", "dead"),
)

METRICS: dict[str, Shown] = {
    **{f"outlast_queue_{name}": Shown("gauge", _QUEUE, "max") for name in _STORE_GAUGES},
    "outlast_queue_jobs": Shown("gauge", (*_QUEUE, "state"), "max"),
    "outlast_jobs_ended_total": Shown("counter", (*_QUEUE, "kind", "outcome"), "max"),
    "outlast_store_up": Shown("gauge", ("app",), "max"),
    "outlast_store_used_bytes": Shown("gauge", ("app",), "max"),
    "outlast_store_limit_bytes": Shown("gauge", ("app",), "max"),
    "outlast_sample_seconds": Shown("gauge", ("app",), "max"),
    "outlast_sample_age_seconds": Shown("gauge", ("app",), "max"),
    "outlast_job_wait_seconds": Shown("histogram", _QUEUE),
    "outlast_job_run_seconds": Shown("histogram", _QUEUE),
    "outlast_kind_runs_total": Shown("counter", ("app", "kind", "outcome")),
    "outlast_kind_run_seconds": Shown("summary", ("app", "kind")),
    "outlast_kind_cpu_seconds_total": Shown("counter", ("app", "kind")),
    "outlast_kind_bytes_total": Shown("counter", ("app", "kind")),
    "outlast_retries_total": Shown("counter", _QUEUE),
    "outlast_stale_settlements_total": Shown("counter", _QUEUE),
    "outlast_lapsed_leases_total": Shown("counter", ("app",)),
    "outlast_worker_slots": Shown("gauge", ("app", "group")),
    "outlast_worker_busy_slots": Shown("gauge", ("app", "group")),
    "outlast_worker_loop_lag_seconds": Shown("gauge", (), "max"),
    "outlast_process_resident_bytes": Shown("gauge", ()),
    "outlast_process_cpu_seconds_total": Shown("counter", ()),
    "outlast_store_call_seconds": Shown("histogram", ("operation",)),
    "outlast_worker_processes": Shown("gauge", ("app", "state")),
    "outlast_worker_exits_total": Shown("counter", ("app", "how")),
    "outlast_guard_open": Shown("gauge", ("guard",), "max"),
    "outlast_guard_calls_total": Shown("counter", ("guard", "outcome")),
    "outlast_guard_permits": Shown("gauge", ("guard",)),
    "outlast_guard_permits_in_use": Shown("gauge", ("guard",)),
    "outlast_guard_retries_total": Shown("counter", ("guard",)),
    "outlast_guard_waiting_calls": Shown("gauge", ("guard",)),
    "outlast_cache_reads_total": Shown("counter", ("cache", "result")),
    "outlast_limiter_decisions_total": Shown("counter", ("limiter", "result")),
    "outlast_lock_acquisitions_total": Shown("counter", ("result",)),
    "outlast_session_operations_total": Shown("counter", ("operation", "result")),
    "outlast_idempotency_keys_total": Shown("counter", ("result",)),
    "outlast_board_calls_total": Shown("counter", ("operation", "result")),
    "outlast_object_calls_total": Shown("counter", ("operation", "result")),
    "outlast_toolkit_degraded_total": Shown("counter", ("piece", "side")),
    "outlast_enqueued_total": Shown("counter", (*_QUEUE, "kind")),
    "outlast_refused_total": Shown("counter", (*_QUEUE, "reason")),
    "outlast_spooled_total": Shown("counter", _QUEUE),
    "outlast_reconnects_total": Shown("counter", ("server",)),
    "outlast_schedule_ticks_total": Shown("counter", ("app", "schedule", "result")),
    "outlast_http_request_seconds": Shown("histogram", ("method", "route", "status")),
    "outlast_cost_cpu_seconds_total": Shown("counter", ("app", "kind", "tenant")),
}
