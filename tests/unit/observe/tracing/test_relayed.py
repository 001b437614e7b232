"""A span on its way from a child process to its worker: nothing of it changes."""

from __future__ import annotations

import os
from typing import Any

import pytest
from msgspec import DecodeError, Raw
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from outlast.observe.tracing.provider import provider_with
from outlast.observe.tracing.relayed import RelayProcessor, span_from
from tests.support.tracing import counts

FAR = SpanContext(2**100 + 1, 2**60 + 1, True, TraceFlags(1), TraceState.from_header(["a=1,b=2"]))


class Kept(SpanProcessor):
    """Keeps what has ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def make_spans(provider: TracerProvider) -> None:
    tracer = provider.get_tracer("scope", "1.2", "https://schema.example/1")
    about: dict[str, Any] = {
        "text": "\u00e9\u4e2d",
        "number": 2**53 + 1,
        "float": 0.5,
        "list": ["a", "b"],
        "flag": True,
    }
    context = set_span_in_context(NonRecordingSpan(FAR))
    with tracer.start_as_current_span("outer", context, SpanKind.PRODUCER, about, [Link(FAR, {"n": 1})]) as span:
        span.add_event("event", {"size": 3}, 123_456_789_012_345_678)
        span.set_status(Status(StatusCode.ERROR, "went wrong"))
        tracer.start_span("inner").end()


def test_the_collector_gets_the_same() -> None:
    """Compared as the exporter writes them."""
    sent: list[Raw] = []
    provider, kept = provider_with(RelayProcessor(sent.append), "app"), Kept()
    provider.add_span_processor(kept)
    make_spans(provider)
    made = [span_from(each, provider.resource) for each in sent]
    assert [each.name for each in made] == ["inner", "outer"]
    assert encode_spans(made) == encode_spans(kept.spans)


def test_a_span_that_is_not_sampled_stays() -> None:
    sent: list[Raw] = []
    tracer = provider_with(RelayProcessor(sent.append), "app").get_tracer("scope")
    unsampled = SpanContext(1, 2, True, TraceFlags(0))
    tracer.start_span("a", set_span_in_context(NonRecordingSpan(unsampled))).end()
    assert sent == []


def test_what_has_no_json_form_is_counted_and_hurts_nobody() -> None:
    before = counts()
    sent: list[Raw] = []
    tracer = provider_with(RelayProcessor(sent.append), "app").get_tracer("scope")
    tracer.start_span("a", attributes={"value": "\ud800"}).end()
    tracer.start_span("b").end()
    assert len(sent) == 1
    assert counts()["unrelayed"] - before["unrelayed"] == 1


def test_a_fork_of_the_child_writes_nothing_into_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    before = counts()
    sent: list[Raw] = []
    tracer = provider_with(RelayProcessor(sent.append), "app").get_tracer("scope")
    monkeypatch.setattr(os, "getpid", lambda: 0)
    tracer.start_span("a").end()
    assert sent == []
    assert counts()["unrelayed"] - before["unrelayed"] == 1


def test_what_is_no_span_is_refused() -> None:
    for body in (b"{}", b"[1]", b"null"):
        with pytest.raises(DecodeError):
            span_from(Raw(body), Resource({}))
