"""Whether a process is traced, with which provider, and what a provider that fails does to a job: nothing."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import opentelemetry.trace
import pytest
from msgspec import Raw
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider

from outlast import ConfigurationError
from outlast.core.message import Delivery, Fence
from outlast.core.settlement import Finish, Park, Release
from outlast.observe.tracing import app_tracing
from outlast.observe.tracing.app_tracing import AppTracing, tracing_of
from outlast.observe.tracing.provider import OwnProvider, _exporter
from outlast.observe.tracing.tracer import OtelTracer
from tests.support.jobs import message
from tests.support.tracing import counts

DELIVERY = Delivery(message("q.1", 0.0), Fence("q.1", "q", 1))


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[app_tracing._ProcessTracing]:
    """A process without a provider and without variables."""
    for name in [each for each in os.environ if each.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    made = app_tracing._ProcessTracing()
    monkeypatch.setattr(app_tracing, "_process", made)
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", None)
    yield made
    if made.own is not None:
        made.own.queue.shutdown()


def set_global(monkeypatch: pytest.MonkeyPatch, provider: Any) -> Any:
    """Set the provider of the app, for one test."""
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    return provider


@pytest.mark.parametrize(
    ("environ", "exports"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://host"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_auto_traces_where_the_environment_names_a_collector(
    environ: dict[str, str], exports: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    tracing = tracing_of("shop", "auto")
    assert tracing is not None
    assert (tracing.tracer() is not None) == exports


def test_off_is_off_and_on_is_on_without_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracing_of("shop", "off") is None
    tracing = tracing_of("shop", "on")
    assert tracing is not None
    assert tracing.tracer() is not None


def test_without_the_packages_on_is_refused_and_auto_is_quiet(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'outlast\[otel\]'"):
        tracing_of("shop", "on")
    caplog.set_level("INFO")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host")
    tracing = tracing_of("shop", "auto")
    assert tracing is not None
    assert tracing.tracer() is None
    assert "pip install 'outlast[otel]'" in caplog.text


def test_the_provider_of_the_app_is_used_whenever_it_is_set(
    process: app_tracing._ProcessTracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracing = AppTracing("shop", exports=True)
    first = tracing.tracer()
    assert first is not None
    assert process.own is not None
    assert first.provider is process.own.provider
    assert tracing.tracer() is first
    provider = set_global(monkeypatch, TracerProvider(shutdown_on_exit=False))
    found = tracing.tracer()
    assert found is not None
    assert found.provider is provider
    assert AppTracing("shop", exports=False).tracer() is not None


def test_without_the_private_name_the_public_function_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(opentelemetry.trace, "_TRACER_PROVIDER")
    tracing = AppTracing("shop", exports=False)
    proxy = opentelemetry.trace.ProxyTracerProvider()
    monkeypatch.setattr(opentelemetry.trace, "get_tracer_provider", lambda: proxy)
    assert tracing.tracer() is None
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(opentelemetry.trace, "get_tracer_provider", lambda: provider)
    found = tracing.tracer()
    assert found is not None
    assert found.provider is provider


def test_a_process_of_outlast_has_its_provider_for_all_unless_the_app_has_one(
    process: app_tracing._ProcessTracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(app_tracing, "_set_global", given.append)
    AppTracing("shop", exports=False).own_process()
    assert given == []
    AppTracing("shop", exports=True).own_process()
    assert process.own is not None
    assert given == [process.own.provider]
    set_global(monkeypatch, TracerProvider(shutdown_on_exit=False))
    AppTracing("shop", exports=True).own_process()
    assert len(given) == 1


def test_the_service_is_the_app_unless_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OwnProvider("shop").provider.resource.attributes["service.name"] == "shop"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "orders")
    assert OwnProvider("shop").provider.resource.attributes["service.name"] == "orders"


@pytest.mark.parametrize("text", ["many", "-1", "0", "1.5", "\u0663"])
def test_a_wrong_number_is_named_and_nothing_is_traced(
    text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", text)
    tracing = AppTracing("shop", exports=True)
    assert tracing.tracer() is tracing.tracer() is None
    (line,) = [each.getMessage() for each in caplog.records]
    assert line == f"nothing is traced: ValueError: OTEL_BSP_MAX_QUEUE_SIZE={text!r}: give a whole number above 0"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
    ],
)
def test_an_exporter_that_is_not_supported_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{value!r}: give"):
        _exporter({name: value})
    made = _exporter({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"})
    assert isinstance(made, SpanExporter)
    made.shutdown()


def test_a_provider_that_makes_no_tracer_costs_no_job_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class MakesNone(TracerProvider):
        def get_tracer(self, *_: Any, **__: Any) -> Any:
            raise LookupError("broken")

    set_global(monkeypatch, MakesNone(shutdown_on_exit=False))
    tracing = AppTracing("shop", exports=True)
    assert tracing.tracer() is tracing.tracer() is None
    assert [each.getMessage() for each in caplog.records] == ["nothing is traced: LookupError: broken"]


def test_a_child_that_cannot_relay_runs_its_jobs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: object) -> None:
        raise LookupError("broken")

    monkeypatch.setattr(app_tracing, "_set_global", fails)
    tracing = AppTracing("shop", exports=False)
    tracing.relay(lambda span: None)
    for _ in range(2):
        tracing.in_child(message("q.1", 0.0), {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    assert [each.getMessage() for each in caplog.records] == [
        "the spans of child processes are lost: LookupError: broken"
    ]


class Broken(TracerProvider):
    """Whose sampler, say, raises."""

    def get_tracer(self, *_: Any, **__: Any) -> Any:
        return self

    def start_span(self, *_: Any, **__: Any) -> Any:
        raise LookupError("broken")


def test_a_provider_that_fails_costs_no_job_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    tracer = OtelTracer(Broken(shutdown_on_exit=False), "1")
    messages = (message("q.1", 0.0),)
    for _ in range(2):
        with tracer.sending(messages) as sent:
            assert sent == messages
        assert tracer.began(DELIVERY) is None
    assert [each.getMessage() for each in caplog.records] == ["tracing failed, the jobs go on: LookupError: broken"]


class BrokenProcessor(SimpleSpanProcessor):
    """That fails at the end of a span."""

    def on_end(self, span: Any) -> None:
        raise LookupError("broken")


def test_a_processor_that_fails_costs_no_job(caplog: pytest.LogCaptureFixture) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BrokenProcessor(InMemorySpanExporter()))
    tracer = OtelTracer(provider, "1")
    run = tracer.began(DELIVERY)
    assert run is not None
    follow = message("q.2", 0.0)
    assert run.follow(follow).id == follow.id
    run.end(Finish(DELIVERY.fence, "succeeded"))
    with tracer.sending((follow,)):
        pass
    assert len(caplog.records) == 1


def test_a_provider_that_makes_no_spans_leaves_the_messages_as_they_are() -> None:
    tracer = OtelTracer(NoOpTracerProvider(), "1")
    messages = (message("q.1", 0.0), message("q.2", 0.0))
    with tracer.sending(messages) as sent:
        assert sent == messages
    run = tracer.began(DELIVERY)
    assert run is not None
    assert run.follow(messages[0]) is messages[0]
    assert tracer.child_run(messages[0], run.carried) is None
    run.end(None)


def test_what_the_block_raises_is_told_in_the_span_and_raised() -> None:
    provider, kept = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = OtelTracer(provider, "1")
    with pytest.raises(ConfigurationError, match="full"), tracer.sending((message("q.1", 0.0),)):
        raise ConfigurationError("full")
    (span,) = kept.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ConfigurationError"
    assert not span.status.is_ok


@pytest.mark.parametrize(
    ("settlement", "outcome", "reason"),
    [
        (None, "superseded", None),
        (Park(DELIVERY.fence, 1.0), "parked", None),
        (Release(DELIVERY.fence, why="the worker stopped"), "released", "the worker stopped"),
        (Finish(DELIVERY.fence, "cancelled", "by an operator"), "cancelled", "by an operator"),
        (Finish(DELIVERY.fence, "dead", "poison" * 100), "dead", ("poison" * 100)[:200]),
    ],
)
def test_a_span_tells_the_end_of_its_run(settlement: Any, outcome: str, reason: str | None) -> None:
    provider, kept = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    run = OtelTracer(provider, "1").began(DELIVERY)
    assert run is not None
    run.end(settlement)
    (span,) = kept.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["outlast.job.outcome"] == outcome
    assert span.attributes.get("outlast.job.reason") == reason
    assert span.status.is_ok == (outcome != "dead")


def test_a_span_of_a_child_that_nobody_can_take_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    before = counts()
    AppTracing("shop", exports=False).take(Raw(b"[]"))
    set_global(monkeypatch, NoOpTracerProvider())
    AppTracing("shop", exports=False).take(Raw(b"[]"))
    assert counts()["unrelayed"] - before["unrelayed"] == 2


def test_a_flush_of_the_provider_of_the_app_ends_though_its_exporter_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the SDK waits for its exporter, whatever it is told."""
    begun, over = threading.Event(), threading.Event()

    class Hangs(TracerProvider):
        def force_flush(self, timeout_millis: int = 0) -> bool:
            begun.set()
            return over.wait()

    set_global(monkeypatch, Hangs(shutdown_on_exit=False))
    AppTracing("shop", exports=False).flush(0.01)
    assert begun.wait(60)
    over.set()


def test_a_flush_of_a_provider_that_fails_or_cannot_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(TracerProvider):
        def force_flush(self, timeout_millis: int = 0) -> bool:
            raise LookupError("broken")

    set_global(monkeypatch, Fails(shutdown_on_exit=False))
    AppTracing("shop", exports=False).flush(60)
    assert "could not be flushed: LookupError: broken" in caplog.text
    set_global(monkeypatch, NoOpTracerProvider())
    AppTracing("shop", exports=False).flush(60)
