"""The metrics that rules and dashboards read are declared as they read them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import outlast
from outlast.meters import meters
from outlast.meters.metric import Metric
from tests.support.metric_names import METRICS, Shown

PACKAGE = Path(outlast.__file__).parent


def declared() -> dict[str, Shown]:
    """Return every metric that a part declares in its `metrics.py` or `<piece>_metrics.py`, or names there."""
    files = sorted(PACKAGE.rglob("*metrics.py"))
    modules = [import_module(".".join(("outlast", *each.relative_to(PACKAGE).with_suffix("").parts))) for each in files]
    named = [each for module in modules for each in vars(module).values() if isinstance(each, Metric)]
    found = [*named, *(family.metric for family in meters._families.values())]
    return {each.name: Shown(each.kind, each.labels, each.merging) for each in found}


def test_kinds_labels_and_merging_are_those_of_the_declarations() -> None:
    """merging is a property of gauges; of counters it tells whether they are read from the store."""
    known = declared()
    expected = {name: metric for name, metric in METRICS.items() if name in known}
    assert {name: (known[name].kind, known[name].labels) for name in expected} == {
        name: (metric.kind, metric.labels) for name, metric in expected.items()
    }
    gauges = {name for name, metric in expected.items() if metric.kind == "gauge"}
    assert {name: known[name].merging for name in gauges} == {name: METRICS[name].merging for name in gauges}
