"""Readings in the text formats that Prometheus reads, by prometheus-client, which only this file imports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from outlast.meters.metric import Metric as Declared
from outlast.meters.metric import Reading

__all__ = ["PLAIN", "encode"]

PLAIN: Final = "text/plain"


class _Families(Collector):
    """Gives readings to an encoder, the first of each series: Prometheus rejects a scrape that has one twice.

    A series of another kind or with other labels than the first of its name is left out, for the same reason.
    """

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._by_name: dict[str, tuple[Declared, dict[tuple[str, ...], Reading]]] = {}
        for each in readings:
            metric, series = self._by_name.setdefault(each.metric.name, (each.metric, {}))
            if (metric.kind, metric.labels) == (each.metric.kind, each.metric.labels):
                series.setdefault(each.labels, each)

    def collect(self) -> Iterator[Metric]:
        """Yield the families by name, and their series by labels, so that two scrapes list them alike."""
        for _, (metric, series) in sorted(self._by_name.items()):
            yield _family(metric, [reading for _, reading in sorted(series.items())])


def _family(metric: Declared, readings: Iterable[Reading]) -> Metric:
    name, about, labels = metric.name, metric.help, metric.labels
    if metric.kind == "counter":
        counter = CounterMetricFamily(name, about, labels=labels)
        for each in readings:
            counter.add_metric(each.labels, each.values[0])
        return counter
    if metric.kind == "summary":
        summary = SummaryMetricFamily(name, about, labels=labels)
        for each in readings:
            count, total = each.values
            summary.add_metric(each.labels, int(count), total)
        return summary
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, about, labels=labels)
        for each in readings:
            edges = [*map(floatToGoString, each.edges), "+Inf"]
            buckets = list(zip(edges, accumulate(each.values[:-1]), strict=True))
            histogram.add_metric(each.labels, buckets, each.values[-1])
        return histogram
    gauge = GaugeMetricFamily(name, about, labels=labels)
    for each in readings:
        gauge.add_metric(each.labels, each.values[0])
    return gauge


def encode(readings: Iterable[Reading], accept: str = "") -> tuple[str, bytes]:
    """Return the content type and the text that the header Accept asks for: the text format, or OpenMetrics.

    A header that cannot be read asks for the text format.
    """
    try:
        encoder, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        encoder, content_type = choose_encoder(PLAIN)
    return content_type, encoder(_Families(readings))
