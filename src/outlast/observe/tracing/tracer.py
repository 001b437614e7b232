"""The spans of enqueues and of runs, by the semantic conventions of OpenTelemetry for messaging (docs/tracing.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)

from outlast.core.exchanges.values import ExchangeEvent
from outlast.core.message import Delivery, Message
from outlast.core.settlement import Settlement
from outlast.observe.tracing.headers import with_context, with_event_context
from outlast.observe.tracing.outcomes import tell
from outlast.observe.tracing.propagation import PARENT, Origin, has_context, injected, origin_of

__all__ = ["FOLLOW_UPS", "JOINED", "OtelTracer", "RunSpan"]

_logger = logging.getLogger("outlast.tracing")

T = TypeVar("T", Message, ExchangeEvent)

SCOPE: Final = "outlast"
SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"
JOINED: Final = 100
"""Jobs of one call that are spans of its trace; those of a larger one are traces of their own, linked to the call: no
tool shows a trace of 100,000 spans."""
FOLLOW_UPS: Final = 100
"""Follow-ups of one run that have a span of their own; those after them are linked to the run."""
_LINKS: Final = 128
"""Links of one span, as the SDK keeps at most by default."""
_RUN: Final = contexts.create_key("outlast-run")


class OtelTracer:
    """Makes spans with one provider."""

    def __init__(self, provider: TracerProvider, version: str) -> None:
        self.provider: Final = provider
        self._tracer = provider.get_tracer(SCOPE, version, SCHEMA)
        self._told = False

    @contextmanager
    def sending(self, messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
        """Make the span of a publish around the block; give the messages with its context in their headers."""
        yield from self._around("send", messages, _about_jobs, with_context)

    @contextmanager
    def publishing(self, events: Sequence[ExchangeEvent]) -> Iterator[Sequence[ExchangeEvent]]:
        """Make the same for events, which pass their headers to their copies."""
        yield from self._around("publish", events, _about_events, with_event_context)

    def _around(
        self,
        operation: str,
        items: Sequence[T],
        about: Callable[[Sequence[T]], tuple[str, dict[str, Any]]],
        add: Callable[[T, Mapping[str, str]], T],
    ) -> Iterator[Sequence[T]]:
        span, sent = None, items
        try:
            destination, attributes = about(items)
            hops, copied = _here()
            given = [each.headers for each in items if has_context(each.headers, copied)]
            span = self._tracer.start_span(
                f"{operation} {destination}".rstrip(),
                kind=SpanKind.CLIENT if len(given) == len(items) else SpanKind.PRODUCER,
                attributes={**_COMMON, "messaging.operation.name": operation, **_SEND, **attributes},
                links=[Link(origin.context) for each in given[:_LINKS] if (origin := origin_of(_texts(each)))],
            )
            if (context := span.get_span_context()).is_valid:
                headers = injected(context, hops=hops, link=len(items) > JOINED)
                sent = [each if has_context(each.headers, copied) else add(each, headers) for each in items]
        except Exception as error:
            self._tell(error)
        try:
            yield sent
        except BaseException as error:
            if span is not None:
                self._failed(span, error)
            raise
        finally:
            if span is not None:
                self._quietly(span.end)

    def began(self, delivery: Delivery) -> RunSpan | None:
        """Begin the span of a run; None where that fails."""
        try:
            return self._began(delivery)
        except Exception as error:
            self._tell(error)
            return None

    def _began(self, delivery: Delivery) -> RunSpan:
        message = delivery.message
        origin = origin_of(message.headers)
        joins = origin is not None and origin.parent
        parent = set_span_in_context(NonRecordingSpan(origin.context), Context()) if origin and joins else Context()
        span = self._tracer.start_span(
            f"process {message.queue}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes={
                **_COMMON,
                **_PROCESS,
                "messaging.destination.name": message.queue,
                "messaging.message.id": message.id,
                "outlast.job.kind": message.kind,
                "outlast.job.attempt": delivery.attempt,
            },
            links=() if origin is None else (Link(origin.context),),
        )
        return RunSpan(self, span, message, _hops_of(origin))

    def child_run(self, message: Message, carried: Mapping[str, str]) -> RunSpan | None:
        """Return the run of a child process, whose span is in its worker; None if it has none."""
        try:
            found = origin_of(carried)
            if found is None:
                return None
            return RunSpan(self, NonRecordingSpan(found.context), message, _hops_of(origin_of(message.headers)))
        except Exception as error:
            self._tell(error)
            return None

    def create(self, message: Message, run: RunSpan, *, own_span: bool) -> Message:
        """Return a follow-up with the context of its creation: a span of its own, or the run's, then linked only."""
        context, hops = run.span.get_span_context(), run.hops + 1
        if own_span:
            # Where the handler has made a span of its own, the creation is below it; a thread of it may have none.
            here = None if get_current_span().get_span_context().is_valid else run.context
            span = self._tracer.start_span(
                f"create {message.queue}",
                context=here,
                kind=SpanKind.PRODUCER,
                attributes={**_COMMON, **_CREATE, **_about_jobs((message,))[1]},
            )
            span.end()
            context = span.get_span_context()
        return with_context(message, injected(context, hops=hops, link=not own_span)) if context.is_valid else message

    def quietly(self, work: Callable[..., Any], *args: Any) -> Any:
        """Call what tracing does for a run; a failure of it is logged once and is no failure of the job."""
        return self._quietly(work, *args)

    def _quietly(self, work: Callable[..., Any], *args: Any) -> Any:
        try:
            return work(*args)
        except Exception as error:
            self._tell(error)

    def _failed(self, span: Span, error: BaseException) -> None:
        name = type(error).__name__

        def fail() -> None:
            span.set_attribute("error.type", name)
            span.set_status(Status(StatusCode.ERROR, name))

        self._quietly(fail)

    def _tell(self, error: Exception) -> None:
        """Log the first failure of a provider, a sampler or a processor of the app."""
        if not self._told:
            self._told = True
            _logger.error("tracing failed, the jobs go on: %s: %s", type(error).__name__, error)


class RunSpan:
    """The span of one run, or its remote end in a child process. hops: jobs before it in its trace."""

    __slots__ = ("_copied", "_followed", "_tracer", "context", "hops", "span")

    def __init__(self, tracer: OtelTracer, span: Span, message: Message, hops: int) -> None:
        self._tracer = tracer
        self.span = span
        self.hops = hops
        self._copied = (message.headers or {}).get(PARENT)
        self.context = contexts.set_value(_RUN, (hops + 1, self._copied), set_span_in_context(span, Context()))
        self._followed = 0

    @property
    def carried(self) -> Mapping[str, str]:
        """What a child process needs, to go on with the trace."""
        return injected(self.span.get_span_context())

    def enter(self) -> Any:
        """Make the span the current one of this context; return what `leave` needs."""
        return contexts.attach(self.context)

    def leave(self, entered: Any) -> None:
        """Make the span before it the current one again."""
        contexts.detach(entered)

    def follow(self, message: Message) -> Message:
        """Return a follow-up of the run, with the context of its creation in its headers."""
        if has_context(message.headers, self._copied):
            return message
        self._followed += 1
        made: Message | None = self._tracer.quietly(self._create, message)
        return made or message

    def _create(self, message: Message) -> Message:
        return self._tracer.create(message, self, own_span=self._followed <= FOLLOW_UPS)

    def end(self, settlement: Settlement | None) -> None:
        """End the span, by what becomes of the job; None: the run was superseded."""
        self._tracer.quietly(self._end, settlement)

    def _end(self, settlement: Settlement | None) -> None:
        if self.span.is_recording():
            tell(self.span, settlement)
        self.span.end()


_COMMON: Final = {"messaging.system": "outlast"}
_SEND: Final = {"messaging.operation.type": "send"}
_PROCESS: Final = {"messaging.operation.name": "process", "messaging.operation.type": "process"}
_CREATE: Final = {"messaging.operation.name": "create", "messaging.operation.type": "create"}


def _here() -> tuple[int, str | None]:
    """Return the jobs before one that is enqueued here, by the run around this line, and the parent in its headers."""
    found: Any = contexts.get_value(_RUN)
    return found or (0, None)


def _hops_of(origin: Origin | None) -> int:
    return 0 if origin is None else origin.hops


def _texts(headers: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: value for name, value in (headers or {}).items() if isinstance(value, str)}


def _about_jobs(messages: Sequence[Message]) -> tuple[str, dict[str, Any]]:
    """Return the destination of a call and its attributes: what all its messages have in common."""
    first = messages[0]
    if len(messages) == 1:
        return first.queue, {
            "messaging.destination.name": first.queue,
            "messaging.message.id": first.id,
            "outlast.job.kind": first.kind,
        }
    about: dict[str, Any] = {"messaging.batch.message_count": len(messages)}
    queues, kinds = {each.queue for each in messages}, {each.kind for each in messages}
    if len(queues) == 1:
        about["messaging.destination.name"] = first.queue
    if len(kinds) == 1:
        about["outlast.job.kind"] = first.kind
    return first.queue if len(queues) == 1 else "", about


def _about_events(events: Sequence[ExchangeEvent]) -> tuple[str, dict[str, Any]]:
    first = events[0]
    about: dict[str, Any] = {"messaging.destination.name": first.exchange}
    if len(events) == 1:
        about["messaging.message.id"] = first.id
    else:
        about["messaging.batch.message_count"] = len(events)
    return first.exchange, about
