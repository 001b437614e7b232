"""The metrics that rules and dashboards read are declared as they read them."""

from __future__ import annotations

from tests.support.metric_names import METRICS, Shown
from tests.support.metric_table import declared


def test_each_metric_that_is_read_is_declared() -> None:
    assert set(METRICS) <= {each.name for each in declared()}


def test_kinds_labels_and_merging_are_those_of_the_declarations() -> None:
    known = {each.name: Shown(each.kind, each.labels, each.merging) for each in declared() if each.name in METRICS}
    assert known == METRICS
