"""Every shipped expression is PromQL, reads metrics that exist, and merges the exporters as the metric needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest

from outlast.observe.promql import recordings
from tests.support.metric_names import METRICS, Shown
from tests.support.shipped_queries import panels, rule_expressions, with_values

RECORDED = {each.name for each in recordings()}
OF_PROMETHEUS = {"ALERTS"}
EXPRESSIONS = {**rule_expressions(), **{each.name: with_values(each.expr) for each in panels()}}
every_expression = pytest.mark.parametrize("name", EXPRESSIONS)


def selectors(expr: str) -> Iterator[tuple[Any, list[Any]]]:
    """Return each selector of an expression and the aggregations and functions around it, the outermost first."""
    around: list[Any] = []
    found: list[tuple[Any, list[Any]]] = []

    def enter(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append((node, list(around)))
        around.append(node)

    def leave(_node: Any) -> None:
        around.pop()

    promql_parser.walk(promql_parser.parse(expr), enter, leave)
    yield from found


def metric_of(name: str) -> Shown | None:
    """Return what a series is a part of: histograms and summaries have several."""
    return METRICS.get(name) or METRICS.get(re.sub("_(?:bucket|count|sum)$", "", name))


def labels_of(name: str, metric: Shown) -> set[str]:
    return {*metric.labels, *(["le"] if name.endswith("_bucket") and metric.kind == "histogram" else [])}


@every_expression
def test_it_is_promql_and_reads_what_exists(name: str) -> None:
    for selector, _ in selectors(EXPRESSIONS[name]):
        metric = metric_of(selector.name)
        assert metric is not None or selector.name in RECORDED | OF_PROMETHEUS, selector.name
        if metric is not None:
            assert {each.name for each in selector.matchers.matchers} <= labels_of(selector.name, metric)


@every_expression
def test_a_counter_is_compared_over_time_and_a_gauge_is_not(name: str) -> None:
    for selector, around in selectors(EXPRESSIONS[name]):
        calls = {each.func.name for each in around if isinstance(each, promql_parser.Call)}
        metric = METRICS.get(selector.name)
        if metric is not None and metric.kind == "gauge":
            assert not calls & {"rate", "increase"}, selector.name
        elif (
            selector.name.startswith("outlast_") and name not in RECORDED and "last_over_time" not in EXPRESSIONS[name]
        ):
            assert calls & {"rate", "increase"}, selector.name


@every_expression
def test_what_every_exporter_tells_is_not_added_up(name: str) -> None:
    """The innermost aggregation merges the exporters: a sum would count a job once for each of them."""
    for selector, around in selectors(EXPRESSIONS[name]):
        metric = metric_of(selector.name)
        aggregations = [each for each in around if isinstance(each, promql_parser.AggregateExpr)]
        if metric is None:
            continue
        assert aggregations, f"{selector.name} is shown once for each exporter"
        innermost = aggregations[-1]
        by = set(innermost.modifier.labels) if innermost.modifier is not None else set()
        assert by <= labels_of(selector.name, metric)
        if metric.merging == "max":
            assert str(innermost.op) in ("max", "min") or selector.name == "outlast_store_up"
        else:
            assert str(innermost.op) in ("sum", "topk")


def test_a_wrong_expression_would_be_found() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        list(selectors("sum(outlast_queue_depth"))
    assert metric_of("outlast_queue_dept") is None
    [(selector, around)] = selectors("sum by (app) (max by (app, queue) (outlast_queue_depth))")
    assert selector.name == "outlast_queue_depth"
    assert [str(each.op) for each in around] == ["sum", "max"]


def test_every_metric_of_the_queues_is_shown_somewhere() -> None:
    read = {selector.name for expr in EXPRESSIONS.values() for selector, _ in selectors(expr)}
    parts = {re.sub("_(?:bucket|count|sum)$", "", name) if name not in METRICS else name for name in read}
    assert set(METRICS) - parts == set()
