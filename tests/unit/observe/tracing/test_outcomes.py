"""What a span tells of a failed run shows no secret that the log would mask."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from outlast.core.message import Failure, Fence
from outlast.core.settlement import Finish
from outlast.observe.tracing.outcomes import tell


def test_secrets_in_the_text_of_an_exception_are_masked() -> None:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    text = "no answer of redis://user:canary@host, https://example.com/?token=canary"
    failure = Failure(1, 0.0, "ConnectionError", text, f"Traceback\n  ConnectionError: {text}")
    with provider.get_tracer("tests").start_as_current_span("process mail") as span:
        tell(span, Finish(Fence("mail.1", "mail", 1), "dead", "attempts", error=failure))
    (ended,) = exporter.get_finished_spans()
    assert "no answer of redis://" in ended.to_json()
    assert "canary" not in ended.to_json()
