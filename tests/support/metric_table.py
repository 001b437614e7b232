"""All metrics that the parts declare, and their table in docs/metrics.md.

`python -m tests.support.metric_table` writes the table anew.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import outlast
from outlast.meters import meters
from outlast.meters.metric import Metric
from outlast.observe.store_metrics import STORE_METRICS

__all__ = ["PAGE", "declared", "rows_on_page", "table"]

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- the table of metrics begins -->\n", "<!-- the table of metrics ends -->\n"


def declared() -> list[Metric]:
    """Return all metrics by name: each part declares its own in its `metrics.py`, or in files named so at their end."""
    source = Path(outlast.__file__).parent
    for file in sorted(source.rglob("*.py")):
        if file.stem == "metrics" or file.stem.endswith("_metrics"):
            importlib.import_module(".".join(("outlast", *file.relative_to(source).with_suffix("").parts)))
    found = [*STORE_METRICS, *(each for each in meters.declared if each.name.startswith("outlast_"))]
    return sorted(found, key=lambda each: each.name)


def table(metrics: list[Metric]) -> str:
    """Return the lines of the table."""
    head = "| metric | type | labels | of several exporters | |\n|---|---|---|---|---|\n"
    return head + "".join(_row(each) for each in metrics)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{each}`" for each in metric.labels) or "-"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.merging} | {metric.help} |\n"


def rows_on_page() -> str:
    """Return the table as it is on the page."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, after = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(declared()) + END + after.partition(END)[2])
