"""The file of rules for Prometheus: recorded series and alerts, as YAML."""

from __future__ import annotations

import json
from typing import Final

from outlast.observe.alerts import ALERTS, Alert
from outlast.observe.promql import INTERVAL, recordings

__all__ = ["RULES", "rules_text"]

RULES: Final = "prometheus/outlast.rules.yml"
"""The name of the file."""
_HEAD: Final = f"""\
# Rules for Prometheus (2.42 or newer) on the metrics of Outlast; docs/alerts.md tells what to do at each alert.
# Written by `outlast observe write`. Keep `interval: {INTERVAL}s`: the shares of the windows are computed from it.
# One group: its rules are evaluated in their order, and the alerts read what is recorded before them.
groups:
  - name: outlast
    interval: {INTERVAL}s
    rules:
"""
_SPAN: Final = 7200
"""Seconds that a link shows, up to now."""
_LINE: Final = 116
"""Columns after which an expression is broken before `and`, `or` and `unless`."""


def rules_text(grafana: str = "") -> str:
    """Return the file. grafana: the URL of a Grafana with the dashboards; then alerts have a link to them too."""
    recorded = [line for each in recordings() for line in (f"      - record: {each.name}", *_block("expr", each.expr))]
    alerts = [line for alert in ALERTS for line in _alert(alert, grafana.rstrip("/"))]
    return _HEAD + "".join(f"{line}\n" for line in (*recorded, *alerts))


def _alert(alert: Alert, grafana: str) -> list[str]:
    annotations = {
        "summary": alert.summary,
        "description": alert.meaning,
        "action": alert.action,
        "docs": f"docs/alerts.md#{alert.name.lower()}",
        "link": _graph_link(alert),
    }
    if grafana:
        annotations["dashboard"] = _dashboard_link(alert, grafana)
    return [
        f"      - alert: {alert.name}",
        *_block("expr", alert.expr),
        *([f"        for: {alert.held}"] if alert.held != "0s" else []),
        "        labels:",
        f"          severity: {alert.severity}",
        "        annotations:",
        *(f"          {name}: {json.dumps(text)}" for name, text in annotations.items()),
    ]


def _block(key: str, expr: str) -> list[str]:
    """Return a value of several lines. An expression has no line breaks of its own, so they may be anywhere."""
    lines, line = [], ""
    for word in expr.split(" "):
        breaks = word in ("and", "or", "unless") and len(line) > 40
        if breaks or len(line) + len(word) > _LINE - 10:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".lstrip()
    return [f"        {key}: |-", *(f"          {each}" for each in (*lines, line))]


def _graph_link(alert: Alert) -> str:
    """Return the template of a link to Prometheus itself: the series of the alert, up to the time of evaluation."""
    labels = [label for label in alert.labels if label != "how"]
    matchers = ",".join(f"{label}=%q" for label in labels)
    values = " ".join(f"$labels.{label}" for label in labels)
    series = f'{{{{ printf "{alert.shows}{{{matchers}}}" {values} | graphLink }}}}'
    now = '{{ with query "time()" }}{{ (. | first | value | toTime).Format "2006-01-02T15:04:05" }}{{ end }}'
    return f"{{{{ $externalURL }}}}{series}&g0.range_input={_SPAN}s&g0.end_input={now}"


def _dashboard_link(alert: Alert, grafana: str) -> str:
    """Return the template of a link to the dashboard of a queue or of dependencies, around the time of evaluation."""
    board = "outlast-queue" if "queue" in alert.labels else "outlast-dependency"
    if alert.labels == ("app", "how"):
        board = "outlast-overview"
    chosen = "".join(f"&var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in alert.labels if label != "how")
    start, end = (
        f'{{{{ with query "1000 * (time() - {before})" }}}}{{{{ . | first | value | printf "%.0f" }}}}{{{{ end }}}}'
        for before in (_SPAN, 0)
    )
    return f"{grafana}/d/{board}?from={start}&to={end}{chosen}"
