"""The dashboard of what apps depend on: guards, the store, the toolkit."""

from __future__ import annotations

from typing import Final

from outlast.observe.dashboards.panels import APP, APPS, GUARD, areas, lines, of_store, quantile, rate
from outlast.observe.dashboards.values import Chosen, Dashboard, PromQuery

__all__ = ["DEPENDENCY"]

DEPENDENCY: Final = Dashboard(
    name="outlast-dependency",
    title="Outlast / Dependency",
    about="What the jobs and the API depend on: guards, the store, the toolkit.",
    chosen=(APPS, Chosen("guard", "outlast_guard_open")),
    rows=(
        (
            "Guards",
            (
                lines(
                    "Open",
                    "1: no call is made. Of a guard with keys: how many are open.",
                    PromQuery(of_store("outlast_guard_open", GUARD, "guard"), "{{guard}}"),
                ),
                areas(
                    "Calls",
                    "By outcome.",
                    PromQuery(rate("outlast_guard_calls_total", "guard, outcome", GUARD), "{{guard}} {{outcome}}"),
                    unit="ops",
                ),
                lines(
                    "Permits",
                    "Calls that may run at once, and those that do.",
                    PromQuery(f"sum by (guard) (outlast_guard_permits{{{GUARD}}})", "{{guard}}: permits"),
                    PromQuery(f"sum by (guard) (outlast_guard_permits_in_use{{{GUARD}}})", "{{guard}}: in use"),
                ),
                lines(
                    "Waiting calls",
                    "For a permit.",
                    PromQuery(f"sum by (guard) (outlast_guard_waiting_calls{{{GUARD}}})", "{{guard}}"),
                ),
                lines(
                    "Retries",
                    "Of calls.",
                    PromQuery(rate("outlast_guard_retries_total", "guard", GUARD), "{{guard}}"),
                    unit="ops",
                ),
            ),
        ),
        (
            "Store",
            (
                lines(
                    "Reached",
                    "0: a process does not reach it.",
                    PromQuery(f"min by (app) (outlast_store_up{{{APP}}})", "{{app}}"),
                ),
                lines(
                    "Disk or memory",
                    "What the store uses, and what it may.",
                    PromQuery(of_store("outlast_store_used_bytes", APP, "app"), "{{app}}: used"),
                    PromQuery(of_store("outlast_store_limit_bytes", APP, "app"), "{{app}}: limit"),
                    unit="bytes",
                ),
                lines(
                    "Time of a call, 99 of 100",
                    "By operation.",
                    PromQuery(quantile(0.99, "outlast_store_call_seconds", "operation"), "{{operation}}"),
                    unit="s",
                ),
                areas(
                    "Calls",
                    "By operation.",
                    PromQuery(rate("outlast_store_call_seconds_count", "operation"), "{{operation}}"),
                    unit="ops",
                ),
                lines(
                    "Samples",
                    "How long a reading of all queues takes, and how old the last one is.",
                    PromQuery(of_store("outlast_sample_seconds", APP, "app"), "{{app}}: takes"),
                    PromQuery(of_store("outlast_sample_age_seconds", APP, "app"), "{{app}}: age"),
                    unit="s",
                ),
                lines(
                    "New connections",
                    "In place of lost ones, by server.",
                    PromQuery(rate("outlast_reconnects_total", "server"), "{{server}}"),
                    unit="ops",
                ),
                lines(
                    "Lapsed leases",
                    "Workers that were told that others have their jobs.",
                    PromQuery(rate("outlast_lapsed_leases_total", "app", APP), "{{app}}"),
                    unit="ops",
                ),
            ),
        ),
        (
            "Toolkit",
            (
                areas(
                    "Reads of caches",
                    "By result.",
                    PromQuery(rate("outlast_cache_reads_total", "cache, result"), "{{cache}} {{result}}"),
                    unit="ops",
                ),
                areas(
                    "Decisions of limiters",
                    "By result.",
                    PromQuery(rate("outlast_limiter_decisions_total", "limiter, result"), "{{limiter}} {{result}}"),
                    unit="ops",
                ),
                areas(
                    "Locks",
                    "By result.",
                    PromQuery(rate("outlast_lock_acquisitions_total", "result"), "{{result}}"),
                    unit="ops",
                ),
                areas(
                    "Sessions",
                    "By operation and result.",
                    PromQuery(
                        rate("outlast_session_operations_total", "operation, result"), "{{operation}} {{result}}"
                    ),
                    unit="ops",
                ),
                areas(
                    "Idempotency keys",
                    "By result.",
                    PromQuery(rate("outlast_idempotency_keys_total", "result"), "{{result}}"),
                    unit="ops",
                ),
                areas(
                    "Boards",
                    "By operation and result.",
                    PromQuery(rate("outlast_board_calls_total", "operation, result"), "{{operation}} {{result}}"),
                    unit="ops",
                ),
                areas(
                    "Objects",
                    "By operation and result.",
                    PromQuery(rate("outlast_object_calls_total", "operation, result"), "{{operation}} {{result}}"),
                    unit="ops",
                ),
                areas(
                    "Answers while the store is away",
                    "By piece and side: what was allowed or refused without it.",
                    PromQuery(rate("outlast_toolkit_degraded_total", "piece, side"), "{{piece}} {{side}}"),
                    unit="ops",
                ),
            ),
        ),
    ),
)
