"""The dashboard of all apps: queues, workers, kinds, the API."""

from __future__ import annotations

from typing import Final

from outlast.observe.dashboards.panels import (
    APP,
    APPS,
    BY_QUEUE,
    areas,
    ended,
    lines,
    number,
    of_store,
    quantile,
    rate,
    total,
)
from outlast.observe.dashboards.values import Dashboard, PromQuery

__all__ = ["OVERVIEW"]

OVERVIEW: Final = Dashboard(
    name="outlast-overview",
    title="Outlast / Overview",
    about="All apps: queues, workers, kinds of jobs, the API.",
    chosen=(APPS,),
    rows=(
        (
            "Now",
            (
                number(
                    "Alerts",
                    "Alerts of Outlast that fire.",
                    'count(ALERTS{alertname=~"Outlast.*",alertstate="firing"}) or vector(0)',
                    bad=1,
                ),
                number("Ready", "Jobs that could start now.", total("outlast_queue_jobs", f'{APP},state="ready"')),
                number("Running", "Jobs that run.", total("outlast_queue_jobs", f'{APP},state="running"')),
                number("Dead letters", "Jobs that failed for good.", total("outlast_queue_dead", APP), bad=1),
                number("Worker processes", "In any state.", f"sum(outlast_worker_processes{{{APP}}})"),
                number(
                    "Processes without their store",
                    "Processes that are scraped and do not reach the store.",
                    f"count(outlast_store_up{{{APP}}} == 0) or vector(0)",
                    bad=1,
                ),
            ),
        ),
        (
            "Queues",
            (
                lines("Unfinished jobs", "Of each queue.", PromQuery(of_store("outlast_queue_depth", APP), BY_QUEUE)),
                lines(
                    "Oldest ready job",
                    "How long the first ready job of each queue has waited.",
                    PromQuery(of_store("outlast_queue_oldest_seconds", APP), BY_QUEUE),
                    unit="s",
                ),
                lines(
                    "Share of the last hour over the objective",
                    "More than 14.4 % wakes a person.",
                    PromQuery(f"outlast:queue_late:ratio_1h{{{APP}}}", BY_QUEUE),
                    unit="percentunit",
                ),
                areas("Ended jobs", "By outcome.", PromQuery(ended("outcome", APP), "{{outcome}}"), unit="ops"),
                lines(
                    "Wait, 95 of 100 jobs",
                    "From due to start.",
                    PromQuery(quantile(0.95, "outlast_job_wait_seconds", "app, queue", APP), BY_QUEUE),
                    unit="s",
                ),
                lines(
                    "Time until empty",
                    "At the rate at which jobs end now.",
                    PromQuery(of_store("outlast_queue_drain_seconds", APP), BY_QUEUE),
                    unit="s",
                ),
            ),
        ),
        (
            "Workers",
            (
                lines(
                    "Slots",
                    "What the workers may run at once, and what they run.",
                    PromQuery(f"sum by (group) (outlast_worker_slots{{{APP}}})", "{{group}}: slots"),
                    PromQuery(f"sum by (group) (outlast_worker_busy_slots{{{APP}}})", "{{group}}: busy"),
                ),
                areas(
                    "Processes",
                    "By state.",
                    PromQuery(f"sum by (state) (outlast_worker_processes{{{APP}}})", "{{state}}"),
                ),
                areas(
                    "Ends of processes",
                    "How worker processes ended.",
                    PromQuery(
                        f"sum by (how) (increase(outlast_worker_exits_total{{{APP}}}[$__rate_interval]))", "{{how}}"
                    ),
                ),
                lines(
                    "Lag of the event loops",
                    "The worst.",
                    PromQuery("max(outlast_worker_loop_lag_seconds)", "lag"),
                    unit="s",
                ),
                lines(
                    "Memory",
                    "Of all processes.",
                    PromQuery("sum(outlast_process_resident_bytes)", "resident"),
                    unit="bytes",
                ),
                lines(
                    "CPU",
                    "Cores in use.",
                    PromQuery("sum(rate(outlast_process_cpu_seconds_total[$__rate_interval]))", "cores"),
                ),
            ),
        ),
        (
            "Kinds",
            (
                lines(
                    "Runs",
                    "Per second.",
                    PromQuery(rate("outlast_kind_runs_total", "kind, outcome", APP), "{{kind}} {{outcome}}"),
                    unit="ops",
                ),
                lines(
                    "Mean time of a run",
                    "Of each kind.",
                    PromQuery(
                        f"{rate('outlast_kind_run_seconds_sum', 'app, kind', APP)} "
                        f"/ {rate('outlast_kind_run_seconds_count', 'app, kind', APP)}",
                        "{{app}} {{kind}}",
                    ),
                    unit="s",
                ),
                areas(
                    "CPU",
                    "Cores in use, by kind.",
                    PromQuery(rate("outlast_kind_cpu_seconds_total", "kind", APP), "{{kind}}"),
                ),
                areas(
                    "Bytes",
                    "Of arguments and results, by kind.",
                    PromQuery(rate("outlast_kind_bytes_total", "kind", APP), "{{kind}}"),
                    unit="bytes",
                ),
                areas(
                    "Ticks of schedules",
                    "By result.",
                    PromQuery(rate("outlast_schedule_ticks_total", "result", APP), "{{result}}"),
                    unit="ops",
                ),
                areas(
                    "Cost",
                    "CPU cores by tenant, the 20 highest.",
                    PromQuery(
                        f"topk(20, {rate('outlast_cost_cpu_seconds_total', 'app, tenant', APP)})",
                        "{{app}} {{tenant}}",
                    ),
                ),
            ),
        ),
        (
            "API",
            (
                areas(
                    "Requests",
                    "By class of the status.",
                    PromQuery(rate("outlast_http_request_seconds_count", "status"), "{{status}}"),
                    unit="ops",
                ),
                lines(
                    "Time of a request, 95 of 100",
                    "By route.",
                    PromQuery(quantile(0.95, "outlast_http_request_seconds", "route"), "{{route}}"),
                    unit="s",
                ),
                areas(
                    "Enqueued",
                    "By queue.",
                    PromQuery(rate("outlast_enqueued_total", "app, queue", APP), BY_QUEUE),
                    unit="ops",
                ),
                areas(
                    "Spooled",
                    "Jobs that went to a local file while the store was away.",
                    PromQuery(rate("outlast_spooled_total", "app, queue", APP), BY_QUEUE),
                    unit="ops",
                ),
                areas(
                    "Refused",
                    "By reason.",
                    PromQuery(rate("outlast_refused_total", "reason", APP), "{{reason}}"),
                    unit="ops",
                ),
            ),
        ),
    ),
)
