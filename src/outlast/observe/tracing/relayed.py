"""Spans of a child process on their way to its worker: as JSON, one by one, when they end.

The worker exports them. So a child process that is replaced, killed or forked loses no span that has ended, and has no
thread and no connection of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from outlast.observe.tracing.metrics import DROPPED

__all__ = ["RelayProcessor", "span_from"]

_encode: Final = msgspec.json.Encoder().encode


class _Context(Struct, frozen=True, array_like=True):
    trace: str
    span: str
    remote: bool
    flags: int
    state: str


class _Event(Struct, frozen=True, array_like=True):
    name: str
    at: int
    attributes: dict[str, Any]


class _Link(Struct, frozen=True, array_like=True):
    context: _Context
    attributes: dict[str, Any]


class _Span(Struct, frozen=True, array_like=True):
    name: str
    kind: int
    context: _Context
    parent: _Context | None
    begin: int
    end: int
    attributes: dict[str, Any]
    events: list[_Event]
    links: list[_Link]
    status: int
    description: str | None
    scope: tuple[str, str | None, str | None]


_decode: Final = msgspec.json.Decoder(_Span).decode


class RelayProcessor(SpanProcessor):
    """Gives each sampled span that ends to `send`. It never raises: a span that has no JSON form is counted."""

    def __init__(self, send: Callable[[Raw], None]) -> None:
        self._send = send
        self._pid = os.getpid()

    def on_end(self, span: ReadableSpan) -> None:
        """Send a span."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if os.getpid() != self._pid:  # a fork that a handler has made: two processes must not write into one socket
            DROPPED["unrelayed"].add()
            return
        try:
            self._send(Raw(_encode(_plain(span))))
        except Exception:  # a lone surrogate, a number above 64 bits; or the worker has gone
            DROPPED["unrelayed"].add()


def span_from(body: Raw, resource: Resource) -> ReadableSpan:
    """Return the span; raise msgspec.DecodeError, ValueError."""
    span = _decode(body)
    name, version, schema = span.scope
    return ReadableSpan(
        name=span.name,
        context=_context(span.context),
        parent=None if span.parent is None else _context(span.parent),
        resource=resource,
        attributes=span.attributes,
        events=[Event(each.name, each.attributes, each.at) for each in span.events],
        links=[Link(_context(each.context), each.attributes) for each in span.links],
        kind=SpanKind(span.kind),
        status=Status(StatusCode(span.status), span.description),
        start_time=span.begin,
        end_time=span.end,
        instrumentation_scope=InstrumentationScope(name, version, schema),
    )


def _plain(span: ReadableSpan) -> _Span:
    assert span.context is not None  # it is sampled
    scope = span.instrumentation_scope
    return _Span(
        name=span.name,
        kind=span.kind.value,
        context=_plain_context(span.context),
        parent=None if span.parent is None else _plain_context(span.parent),
        begin=span.start_time or 0,
        end=span.end_time or 0,
        attributes=_attributes(span.attributes),
        events=[_Event(each.name, each.timestamp, _attributes(each.attributes)) for each in span.events],
        links=[_Link(_plain_context(each.context), _attributes(each.attributes)) for each in span.links],
        status=span.status.status_code.value,
        description=span.status.description,
        scope=("", None, None) if scope is None else (scope.name, scope.version, scope.schema_url),
    )


def _attributes(given: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: list(value) if _is_list(value) else value for name, value in (given or {}).items()}


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _plain_context(context: SpanContext) -> _Context:
    return _Context(
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
        context.is_remote,
        int(context.trace_flags),
        context.trace_state.to_header(),
    )


def _context(plain: _Context) -> SpanContext:
    return SpanContext(
        int(plain.trace, 16),
        int(plain.span, 16),
        plain.remote,
        TraceFlags(plain.flags),
        TraceState.from_header([plain.state]) if plain.state else None,
    )
