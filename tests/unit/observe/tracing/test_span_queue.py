"""The queue of ended spans: bounded, exported by its thread, and every span that is not is counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from outlast.observe.tracing.span_queue import SpanQueue
from tests.support.tracing import counts


class Exporter(SpanExporter):
    """Keeps what it is given once it is open."""

    def __init__(self) -> None:
        self.open, self.busy, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.open.set()
        self.result: Any = SpanExportResult.SUCCESS
        self.batches: list[list[str]] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.busy.set()
        self.open.wait()
        if isinstance(self.result, Exception):
            raise self.result
        self.batches.append([each.name for each in spans])
        return SpanExportResult(self.result)

    @property
    def names(self) -> list[str]:
        return [name for batch in self.batches for name in batch]

    def shutdown(self) -> None:
        self.closed.set()


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    found = Exporter()
    yield found
    found.open.set()


def span(name: str, *, sampled: bool = True) -> ReadableSpan:
    return ReadableSpan(name, SpanContext(1, 2, False, TraceFlags(sampled)), resource=Resource({}))


def counted(before: dict[str, float]) -> dict[str, float]:
    """What was counted since."""
    return {name: number - before[name] for name, number in counts().items() if number != before[name]}


def test_spans_are_exported_in_batches(exporter: Exporter) -> None:
    before = counts()
    queue = SpanQueue(lambda: exporter, batch=2, delay=3600)
    for name in "abcde":
        queue.on_end(span(name))
    assert queue.flush(60)
    assert exporter.names == list("abcde")
    assert all(len(each) <= 2 for each in exporter.batches)
    assert counted(before) == {"ended": 5, "exported": 5}
    queue.shutdown()
    assert exporter.closed.wait(60)


def test_a_span_that_is_not_sampled_is_for_nobody(exporter: Exporter) -> None:
    before = counts()
    queue = SpanQueue(lambda: exporter)
    queue.on_end(span("a", sampled=False))
    assert queue.flush(0)
    assert counted(before) == {}
    assert queue._thread is None


def test_a_full_queue_drops_and_counts(exporter: Exporter) -> None:
    before = counts()
    exporter.open.clear()
    queue = SpanQueue(lambda: exporter, most=4, batch=2, delay=3600)
    for name in "ab":
        queue.on_end(span(name))
    assert exporter.busy.wait(60)  # the first two are under way
    for name in "cdefgh":
        queue.on_end(span(name))
    assert counted(before) == {"ended": 8, "full": 2}
    exporter.open.set()
    assert queue.flush(60)
    assert exporter.names == list("abcdef")
    queue.shutdown()


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, RuntimeError("none at http://me:s3cr3t-word@host/")])
def test_a_failed_export_is_counted_and_told_once(
    result: Any, exporter: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    before = counts()
    exporter.result = result
    queue = SpanQueue(lambda: exporter, batch=1, delay=3600)
    for name in "abc":
        queue.on_end(span(name))
    assert queue.flush(60)
    exporter.result = SpanExportResult.SUCCESS
    queue.on_end(span("d"))
    assert queue.flush(60)
    assert counted(before) == {"ended": 4, "failed": 3, "exported": 1}
    told = [each.getMessage() for each in caplog.records]
    assert "s3cr3t" not in caplog.text
    assert told[-2:] == [
        "the collector takes no spans: they are dropped and counted, jobs go on",
        "spans are exported again",
    ]
    assert len(told) == (3 if isinstance(result, RuntimeError) else 2)
    queue.shutdown()


def test_a_flush_that_drops_counts_each_span_once_though_its_export_comes_back(exporter: Exporter) -> None:
    before = counts()
    exporter.open.clear()
    queue = SpanQueue(lambda: exporter, batch=1, delay=3600)
    for name in "abc":
        queue.on_end(span(name))
    assert exporter.busy.wait(60)
    assert not queue.flush(0, drop=True)
    assert counted(before) == {"ended": 3, "late": 3}
    exporter.open.set()
    queue.on_end(span("d"))
    assert queue.flush(60)
    assert exporter.batches == [["a"], ["d"]]
    assert counted(before) == {"ended": 4, "late": 3, "exported": 1}
    queue.shutdown()


def test_a_flush_that_does_not_drop_leaves_the_spans(exporter: Exporter) -> None:
    exporter.open.clear()
    queue = SpanQueue(lambda: exporter, delay=3600)
    queue.on_end(span("a"))
    assert not queue.force_flush(0)
    exporter.open.set()
    assert queue.force_flush()
    assert exporter.batches == [["a"]]
    queue.shutdown()


def test_after_the_end_a_span_is_late(exporter: Exporter) -> None:
    queue = SpanQueue(lambda: exporter)
    queue.on_end(span("a"))
    queue.shutdown()
    before = counts()
    queue.on_end(span("b"))
    assert counted(before) == {"ended": 1, "late": 1}


def test_a_span_for_which_no_thread_can_be_started_is_late(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", fails)
    before = counts()
    queue = SpanQueue(lambda: exporter)
    queue.on_end(span("a"))
    assert counted(before) == {"ended": 1, "late": 1}
    assert queue.flush(0)
