"""Every expression of PromQL that ships: in the rules, and in the JSON of the dashboards."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from outlast.observe.alerts import ALERTS
from outlast.observe.promql import recordings
from outlast.observe.writing import shipped
from tests.support.servers.prometheus_server import PrometheusServer

__all__ = ["Panel", "panels", "rule_expressions", "unanswered", "with_values"]


@dataclass(frozen=True)
class Panel:
    """One query of a panel. expr: as it is in the file, with variables of Grafana."""

    dashboard: str
    title: str
    expr: str

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.dashboard}: {self.title}: {self.expr}"


def rule_expressions() -> dict[str, str]:
    """Return the expressions of all recordings and alerts by their names."""
    return {**{each.name: each.expr for each in recordings()}, **{alert.name: alert.expr for alert in ALERTS}}


def panels() -> Iterator[Panel]:
    """Return all queries of the panels of all dashboards."""
    for name, text in shipped().items():
        if name.startswith("grafana/"):
            board: dict[str, Any] = json.loads(text)
            for panel in board["panels"]:
                for target in panel.get("targets", ()):
                    yield Panel(board["title"], panel["title"], target["expr"])


def with_values(expr: str, *, rate: str = "1m") -> str:
    """Return a query as Grafana sends it when all values of each variable are chosen."""
    for variable in ("$app", "$queue", "$guard"):
        expr = expr.replace(f'"{variable}"', '".*"')
    return expr.replace("$__rate_interval", rate)


def unanswered(prometheus: PrometheusServer, *, rate: str = "10s") -> list[str]:
    """Return the queries of panels to which a server has no number now; RuntimeError for one that it does not take.

    rate: the range of rates; at least four scrapes long.
    """
    asked = {panel.name: with_values(panel.expr, rate=rate) for panel in panels()}
    return [name for name, expr in asked.items() if all(map(math.isnan, prometheus.numbers(expr)))]
