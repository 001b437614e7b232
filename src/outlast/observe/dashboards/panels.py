"""The parts of which the dashboards are made: selectors, expressions, panels."""

from __future__ import annotations

from typing import Final

from outlast.observe.dashboards.values import Chart, Chosen, PromQuery, Unit

__all__ = ["APP", "APPS", "BY_QUEUE", "GUARD", "QUEUE", "areas", "ended", "lines", "number", "of_store", "quantile"]
__all__ += ["quantiles", "rate", "total"]

APP: Final = 'app=~"$app"'
QUEUE: Final = f'{APP},queue=~"$queue"'
GUARD: Final = 'guard=~"$guard"'
APPS: Final = Chosen("app", "outlast_store_up")
BY_QUEUE: Final = "{{app}} {{queue}}"
_RATE: Final = "[$__rate_interval]"


def of_store(metric: str, matchers: str = QUEUE, by: str = "app, queue") -> str:
    """Return a figure of the store, which every exporter tells: the highest."""
    return f"max by ({by}) ({metric}{{{matchers}}})"


def total(metric: str, matchers: str = APP) -> str:
    """Return the sum over queues of a figure of the store."""
    return f"sum({of_store(metric, matchers)})"


def ended(by: str, matchers: str) -> str:
    """Return ended jobs per second. Totals are figures of the store: the highest of all exporters, then the sum."""
    return f"sum by ({by}) (max by (app, queue, kind, outcome) (rate(outlast_jobs_ended_total{{{matchers}}}{_RATE})))"


def rate(metric: str, by: str, matchers: str = "") -> str:
    """Return the rate of a counter of processes, added up."""
    selected = f"{metric}{{{matchers}}}" if matchers else metric
    return f"sum by ({by}) (rate({selected}{_RATE}))"


def quantile(q: float, metric: str, by: str, matchers: str = "") -> str:
    """Return a quantile of a histogram of processes."""
    return f"histogram_quantile({q:g}, {rate(f'{metric}_bucket', f'le, {by}', matchers)})"


def quantiles(metric: str, by: str, matchers: str = "", legend: str = "") -> tuple[PromQuery, ...]:
    """Return the median and what 95 and 99 of 100 do not exceed. legend: after the name of each."""
    return tuple(
        PromQuery(quantile(q, metric, by, matchers), f"{name} {legend}".rstrip())
        for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def number(title: str, about: str, expr: str, *, unit: Unit = "short", bad: float | None = None) -> Chart:
    """Return a panel with one number, red from `bad` on."""
    return Chart(title=title, about=about, queries=(PromQuery(expr, ""),), unit=unit, form="number", bad=bad)


def lines(title: str, about: str, *queries: PromQuery, unit: Unit = "short") -> Chart:
    """Return a panel of lines."""
    return Chart(title=title, about=about, queries=queries, unit=unit)


def areas(title: str, about: str, *queries: PromQuery, unit: Unit = "short") -> Chart:
    """Return a panel of areas that add up."""
    return Chart(title=title, about=about, queries=queries, unit=unit, form="areas")
