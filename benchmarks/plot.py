"""Draw docs/images/bench*.svg from results.json by matplotlib, which lives in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rows import ROWS, Row
from benchmarks.system import Store
from benchmarks.systems import SYSTEMS

__all__ = ["PICTURES", "draw"]

PACKAGE = "matplotlib==3.11.2"
PICTURES: dict[Store, str] = {"sqlite": "bench.svg", "redis": "bench-redis.svg", "rabbitmq": "bench-rabbitmq.svg"}
PANELS: dict[Store, tuple[tuple[str, str], ...]] = {
    "sqlite": (
        ("single", "rate"),
        ("bulk", "rate"),
        ("gather", "rate"),
        ("http", "rate"),
        ("drain", "rate"),
        ("latency", "p99"),
    ),
    "redis": (
        ("redis single", "rate"),
        ("redis bulk", "rate"),
        ("redis gather", "rate"),
        ("redis drain", "rate"),
        ("redis drain", "cpu"),
        ("redis latency", "p99"),
    ),
    "rabbitmq": (
        ("rabbitmq single", "rate"),
        ("rabbitmq bulk", "rate"),
        ("rabbitmq gather", "rate"),
        ("rabbitmq drain", "rate"),
        ("rabbitmq drain", "cpu"),
        ("rabbitmq latency", "p99"),
    ),
}


def draw(out: Path, stores: Sequence[Store]) -> None:
    """Draw the plots of these stores below `out`."""
    from benchmarks.environments import make

    python = make("plot", (PACKAGE,)) / "bin" / "python"
    for store in stores:
        source, target = out / "benchmarks/results.json", out / "docs/images" / PICTURES[store]
        argv = [str(python), "-m", "benchmarks.plot", store, str(source), str(target)]
        subprocess.run(argv, cwd=Path(__file__).resolve().parent.parent, check=True)


def _bars(results: dict[str, Any], row: Row) -> list[tuple[str, float, float, float]]:
    """Return title, median, lowest and highest of each system that has this row."""
    samples = results["rows"].get(row.measure, {}).get("samples", {})
    bars = []
    for system in reversed(SYSTEMS):
        values = [sample[row.key] for sample in samples.get(system.name, ()) if row.key in sample]
        if values:
            bars.append((system.title, median(values), min(values), max(values)))
    return bars


def main(store: Store, source: str, target: str) -> None:
    """Draw `target` from `source`."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "outlast", "font.size": 9, "axes.titlesize": 10})
    from matplotlib import pyplot

    results = json.loads(Path(source).read_text())
    rows = [row for key in PANELS[store] for row in ROWS if (row.measure, row.key) == key]
    figure, panels = pyplot.subplots(3, 2, figsize=(11, 9))
    for row, panel in zip(rows, panels.flat, strict=True):
        bars = _bars(results, row)
        names = [name for name, *_ in bars]
        middles = [middle for _, middle, _, _ in bars]
        spread = [[middle - low for _, middle, low, _ in bars], [high - middle for _, middle, _, high in bars]]
        colours = [
            "#d9480f" if name.startswith("Outlast") else "#ced4da" if "floor" in name else "#748ffc" for name in names
        ]
        drawn = panel.barh(names, middles, xerr=spread, color=colours, ecolor="#495057", capsize=2)
        labels = [f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}" for middle in middles]
        panel.bar_label(drawn, labels=labels, padding=4)
        better = "more is better" if row.better == "more" else "less is better"
        panel.set_title(f"{row.title} ({row.unit}; {better})")
        panel.margins(x=0.2)
        panel.locator_params(axis="x", nbins=5)
        panel.spines[["top", "right"]].set_visible(False)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 or not value else f"{value:g}")
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
