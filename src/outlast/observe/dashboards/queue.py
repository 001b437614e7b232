"""The dashboard of one queue."""

from __future__ import annotations

from typing import Final

from outlast.observe.dashboards.panels import (
    APP,
    APPS,
    BY_QUEUE,
    QUEUE,
    areas,
    ended,
    lines,
    number,
    of_store,
    quantiles,
    rate,
    total,
)
from outlast.observe.dashboards.values import Chosen, Dashboard, PromQuery
from outlast.observe.promql import DEAD

__all__ = ["ONE_QUEUE"]

ONE_QUEUE: Final = Dashboard(
    name="outlast-queue",
    title="Outlast / Queue",
    about="One queue: what waits and why, what comes in, what ends.",
    chosen=(APPS, Chosen("queue", f"outlast_queue_depth{{{APP}}}")),
    rows=(
        (
            "Now",
            (
                number("Ready", "Jobs that could start now.", total("outlast_queue_jobs", f'{QUEUE},state="ready"')),
                number("Running", "Jobs that run.", total("outlast_queue_jobs", f'{QUEUE},state="running"')),
                number(
                    "Oldest ready job",
                    "How long it has waited.",
                    f"max(outlast_queue_oldest_seconds{{{QUEUE}}})",
                    unit="s",
                ),
                number("Workers", "Processes that consume it.", total("outlast_queue_consumers", QUEUE)),
                number("Dead letters", "Jobs that failed for good.", total("outlast_queue_dead", QUEUE), bad=1),
                number("Paused", "By an operator.", f"max(outlast_queue_paused{{{QUEUE}}})", unit="bool_on_off", bad=1),
            ),
        ),
        (
            "What waits",
            (
                areas(
                    "Jobs",
                    "By state.",
                    PromQuery(
                        f"sum by (state) ({of_store('outlast_queue_jobs', QUEUE, 'app, queue, state')})", "{{state}}"
                    ),
                ),
                lines(
                    "Oldest ready job and the objective",
                    "An alert fires when the job is over the objective for more than 14.4 % of an hour.",
                    PromQuery(of_store("outlast_queue_oldest_seconds"), f"{BY_QUEUE}: oldest"),
                    PromQuery(of_store("outlast_queue_objective_seconds"), f"{BY_QUEUE}: objective"),
                    unit="s",
                ),
                lines(
                    "Share of time over the objective",
                    "In the windows of the alerts.",
                    *(
                        PromQuery(f"outlast:queue_late:ratio_{window}{{{QUEUE}}}", f"{BY_QUEUE}: {window}")
                        for window in ("5m", "1h", "6h", "1d")
                    ),
                    unit="percentunit",
                ),
                lines(
                    "Wait",
                    "From due to start.",
                    *quantiles("outlast_job_wait_seconds", "app, queue", QUEUE, BY_QUEUE),
                    unit="s",
                ),
                lines(
                    "Depth and its bound",
                    "Unfinished jobs, and how many the queue accepts.",
                    PromQuery(of_store("outlast_queue_depth"), f"{BY_QUEUE}: depth"),
                    PromQuery(of_store("outlast_queue_max_depth"), f"{BY_QUEUE}: bound"),
                ),
                lines(
                    "Time until empty",
                    "At the rate at which jobs end now.",
                    PromQuery(of_store("outlast_queue_drain_seconds"), BY_QUEUE),
                    unit="s",
                ),
            ),
        ),
        (
            "What comes in",
            (
                areas(
                    "Enqueued",
                    "By kind.",
                    PromQuery(rate("outlast_enqueued_total", "kind", QUEUE), "{{kind}}"),
                    unit="ops",
                ),
                areas(
                    "Refused",
                    "By reason.",
                    PromQuery(rate("outlast_refused_total", "reason", QUEUE), "{{reason}}"),
                    unit="ops",
                ),
            ),
        ),
        (
            "What runs and ends",
            (
                areas("Ended jobs", "By outcome.", PromQuery(ended("outcome", QUEUE), "{{outcome}}"), unit="ops"),
                areas("Ended jobs", "By kind.", PromQuery(ended("kind", QUEUE), "{{kind}}"), unit="ops"),
                lines(
                    "Run",
                    "From start to end.",
                    *quantiles("outlast_job_run_seconds", "app, queue", QUEUE, BY_QUEUE),
                    unit="s",
                ),
                lines(
                    "Rate of ended jobs",
                    "As the store measures it.",
                    PromQuery(of_store("outlast_queue_drain_rate"), BY_QUEUE),
                    unit="ops",
                ),
                lines(
                    "Repeated and late",
                    "Retries, and results of runs that were handed out again meanwhile, which change nothing.",
                    PromQuery(rate("outlast_retries_total", "app, queue", QUEUE), f"{BY_QUEUE}: retries"),
                    PromQuery(rate("outlast_stale_settlements_total", "app, queue", QUEUE), f"{BY_QUEUE}: stale"),
                    unit="ops",
                ),
                lines("Dead letters", "All that there ever were.", PromQuery(f"{DEAD}{{{QUEUE}}}", BY_QUEUE)),
            ),
        ),
    ),
)
