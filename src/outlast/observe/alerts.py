"""The alerts for Prometheus: when each fires, what it means, the one safe action, and where to look."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from outlast.observe.promql import BURNS, DEAD, WINDOW, burning, highest, risen

__all__ = ["ALERTS", "Alert"]

_QUEUE: Final = ("app", "queue")


class Alert(Struct, frozen=True, kw_only=True):
    """One alert. Texts may have templates of Prometheus: `{{ $labels.queue }}`, `{{ $value }}`.

    severity: a page wakes a person, a ticket waits for the morning. held: how long `expr` must hold before it fires.
    labels: that tell one alert from another, besides its name; the link selects the series `shows` by them.
    """

    name: str
    severity: Literal["page", "ticket"]
    expr: str
    held: str
    labels: tuple[str, ...]
    shows: str
    summary: str
    meaning: str
    action: str


def _queue(metric: str, matchers: str = "") -> str:
    return highest(metric, _QUEUE, matchers)


def _open(window: str) -> str:
    """Return the guards that were open within a window, and whose calls fail or are refused.

    One without calls stays open until its next call: it is no outage, and no reason for a queue that stands still.
    """
    failing = 'increase(outlast_guard_calls_total{outcome=~"open|failure|timeout"}[10m])'
    open_ = f"max by (guard) (max_over_time(outlast_guard_open[{window}])) > 0"
    return f"{open_} and on (guard) sum by (guard) ({failing}) > 0"


_NOT_PAUSED: Final = f"unless {_queue('outlast_queue_paused')} == 1"
_READY: Final = _queue("outlast_queue_jobs", 'state="ready"')
_CONSUMERS: Final = _queue("outlast_queue_consumers")
_BAD_EXITS: Final = risen('outlast_worker_exits_total{how=~"crashed|killed|stalled"}', resets=True)
_LAPSED: Final = risen("outlast_lapsed_leases_total", resets=True)

_QUEUE_LATE: Final = Alert(
    name="OutlastQueueLate",
    severity="page",
    expr=" or ".join(f"({burning(burn)})" for burn in BURNS if burn.severity == "page"),
    held="0s",
    labels=_QUEUE,
    shows="outlast_queue_oldest_seconds",
    summary="Jobs of queue {{ $labels.queue }} of {{ $labels.app }} wait longer than its objective",
    meaning="The oldest ready job was over the objective of the queue for {{ $value | humanizePercentage }} of the "
    "window: the 1 % of a month in which it may be is used up within days.",
    action="Start one more worker for the queue: outlast worker MODULE:APP --queues {{ $labels.queue }}",
)
_QUEUE_LATE_SLOWLY: Final = Alert(
    name="OutlastQueueLateSlowly",
    severity="ticket",
    expr=" or ".join(f"({burning(burn)})" for burn in BURNS if burn.severity == "ticket"),
    held="15m",
    labels=_QUEUE,
    shows="outlast_queue_oldest_seconds",
    summary="Jobs of queue {{ $labels.queue }} of {{ $labels.app }} often wait longer than its objective",
    meaning="The oldest ready job was over the objective of the queue for {{ $value | humanizePercentage }} of the "
    "window: the 1 % of a month in which it may be is used up before the month ends.",
    action="Compare what comes in with what the workers finish: outlast queues",
)
_DEAD_LETTERS: Final = Alert(
    name="OutlastDeadLetters",
    severity="ticket",
    expr=f"({risen(DEAD)}) and {_queue('outlast_queue_dead')} > 0",
    held="0s",
    labels=_QUEUE,
    shows=DEAD,
    summary="New dead letters in queue {{ $labels.queue }} of {{ $labels.app }}: {{ $value }}",
    meaning=f"Within {WINDOW}, jobs failed for good: no attempt is left, or their error may not be retried.",
    action="Read why they failed, which changes nothing: outlast dead queue:{{ $labels.queue }}",
)
_WITHOUT_WORKERS: Final = Alert(
    name="OutlastQueueWithoutWorkers",
    severity="page",
    expr=f"{_READY} > 0 and {_CONSUMERS} == 0 {_NOT_PAUSED}",
    held="2m",
    labels=_QUEUE,
    shows="outlast_queue_consumers",
    summary="No worker consumes queue {{ $labels.queue }} of {{ $labels.app }}; ready jobs: {{ $value }}",
    meaning="The jobs are safe in the store, and none of them starts.",
    action="Start a worker for the queue: outlast worker MODULE:APP --queues {{ $labels.queue }}",
)
_STUCK: Final = Alert(
    name="OutlastQueueStuck",
    severity="page",
    expr=f"{_queue('outlast_queue_oldest_seconds')} > 300 and {_CONSUMERS} > 0 {_NOT_PAUSED} "
    'unless max by (app, queue) (max_over_time(outlast_queue_jobs{state="running"}[5m])) > 0 '
    "unless max by (app, queue) (increase(outlast_jobs_ended_total[5m])) > 0 "
    "unless sum by (app, queue) (increase(outlast_retries_total[5m])) > 0 "
    f"unless on () max({_open('5m')})",
    held="5m",
    labels=_QUEUE,
    shows="outlast_queue_oldest_seconds",
    summary="Workers of queue {{ $labels.queue }} of {{ $labels.app }} are there and take no job",
    meaning="The oldest ready job waits for {{ $value | humanizeDuration }}, no job ran or ended for 5 minutes, the "
    "queue is not paused, and no guard is open that it might wait for.",
    action="Replace the worker processes without a gap: send SIGHUP to the supervisor of the worker",
)
_SILENT: Final = Alert(
    name="OutlastWorkerSilent",
    severity="page",
    expr='sum by (app) (outlast_worker_processes{state="silent"}) > 0',
    held="2m",
    labels=("app",),
    shows="outlast_worker_processes",
    summary="Worker processes of {{ $labels.app }} do not answer: {{ $value }}",
    meaning="Their event loops have not run for longer than a lease: a handler blocks them, or they are frozen. They "
    "keep their jobs until the hard deadline of one, and all but that one stand still.",
    action="See which jobs they run, which changes nothing: outlast jobs state:running",
)
_DIED: Final = Alert(
    name="OutlastWorkerDied",
    severity="ticket",
    expr=f'sum by (app, how) ({_BAD_EXITS}) or label_replace(sum by (app) ({_LAPSED}), "how", "lapsed", "", "")',
    held="0s",
    labels=("app", "how"),
    shows="outlast_worker_exits_total",
    summary="Worker processes of {{ $labels.app }} lost their jobs without being stopped: {{ $labels.how }}",
    meaning=f"Within {WINDOW}. Their jobs run again by themselves, and the supervisor starts new processes. 'lapsed': "
    "a worker lives that was frozen or cut off from the store for longer than its lease, and others took its jobs.",
    action="Find the reason in the log of the supervisor (an exit by signal 9 is often the kernel's, out of memory)",
)
_BREAKER: Final = Alert(
    name="OutlastBreakerOpen",
    severity="page",
    expr=_open("1m"),
    held="2m",
    labels=("guard",),
    shows="outlast_guard_open",
    summary="Calls of guard {{ $labels.guard }} are refused: its dependency fails",
    meaning="Jobs that need it wait and use up no attempts; the guard probes the dependency and closes by itself.",
    action="See what the guard measures, and leave it to close by itself: outlast guards",
)
_STORE_AWAY: Final = Alert(
    name="OutlastStoreAway",
    severity="page",
    expr="min by (app) (outlast_store_up) == 0",
    held="2m",
    labels=("app",),
    shows="outlast_store_up",
    summary="Processes of {{ $labels.app }} do not reach their store",
    meaning="Accepted jobs are safe in it. Workers keep what they run and settle it when the store is back.",
    action="Bring the store back and leave the workers running, they connect by themselves: outlast doctor",
)
_STORE_FULL: Final = Alert(
    name="OutlastStoreNearlyFull",
    severity="page",
    expr="outlast:store_used:ratio > 0.9 or "
    "(outlast:store_used:ratio > 0.6 and predict_linear(outlast:store_used:ratio[1h], 4 * 3600) > 1)",
    held="10m",
    labels=("app",),
    shows="outlast_store_used_bytes",
    summary="The store of {{ $labels.app }} is nearly out of disk or memory",
    meaning="{{ $value | humanizePercentage }} of what it may use is used. At the rate of the last hour it would be "
    "full within 4 hours, or 90 % is reached. A full store accepts no jobs.",
    action="Enlarge the disk of the SQLite file, or maxmemory of the Redis server",
)
_MISSING: Final = Alert(
    name="OutlastFiguresMissing",
    severity="page",
    expr="max by (app) (max_over_time(outlast_store_up[1h])) unless max by (app) (outlast_store_up)",
    held="5m",
    labels=("app",),
    shows="outlast_store_up",
    summary="No process of {{ $labels.app }} is scraped any more",
    meaning="Within the last hour one was. All of them have stopped, or Prometheus does not reach them; no other alert "
    "of this app can fire until then.",
    action="Look for the processes on the page of targets of Prometheus, and start the worker if it has stopped",
)

ALERTS: Final = (
    _QUEUE_LATE,
    _QUEUE_LATE_SLOWLY,
    _DEAD_LETTERS,
    _WITHOUT_WORKERS,
    _STUCK,
    _SILENT,
    _DIED,
    _BREAKER,
    _STORE_AWAY,
    _STORE_FULL,
    _MISSING,
)
