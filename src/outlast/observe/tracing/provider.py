"""The way of spans to a collector when the app has none of its own: one provider in each process, made after a fork."""

from __future__ import annotations

import os
from collections.abc import Mapping
from random import Random
from typing import Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

from outlast.observe.tracing.span_queue import BATCH, DELAY, MOST, SpanQueue

__all__ = ["OwnProvider", "provider_with"]

_UNNAMED: Final = "unknown_service"


class OwnProvider:
    """A provider with the queue of its spans, as the OTEL_ variables set it. Raise ValueError for a wrong one."""

    def __init__(self, app_name: str, environ: Mapping[str, str] = os.environ) -> None:
        self.queue: Final = SpanQueue(
            lambda: _exporter(environ),
            most=_number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", MOST),
            batch=_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH),
            delay=_number(environ, "OTEL_BSP_SCHEDULE_DELAY", int(DELAY * 1000)) / 1000,
        )
        self.provider: Final = provider_with(self.queue, app_name)


def provider_with(processor: SpanProcessor, app_name: str) -> TracerProvider:
    """Return a provider with the resource and the sampler of the environment; the service is the app by default."""
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
        resource = resource.merge(Resource({SERVICE_NAME: app_name}))
    provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider


class _Ids(IdGenerator):
    """Ids from a generator of their own: a job may seed that of the module `random`, and then two processes would make
    the same ones.
    """

    def __init__(self) -> None:
        self._bits = Random(int.from_bytes(os.urandom(32))).getrandbits  # noqa: S311 - ids are no secrets

    def generate_span_id(self) -> int:
        """Return a number that is not 0."""
        return self._bits(64) or 1

    def generate_trace_id(self) -> int:
        """Return a number that is not 0."""
        return self._bits(128) or 1


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip() or str(default)
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"{name}={text!r}: give a whole number above 0")
    return int(text)


def _exporter(environ: Mapping[str, str]) -> SpanExporter:
    """Return the exporter that the environment names; raise ValueError for one that is not supported."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if exporter != "otlp":
        raise ValueError(f"OTEL_TRACES_EXPORTER={exporter!r}: give otlp or none, or set a TracerProvider in the app")
    shared = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip() or "http/protobuf"
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "").strip() or shared
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    raise ValueError(
        f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r}: give http/protobuf, or set a TracerProvider in the app"
    )
