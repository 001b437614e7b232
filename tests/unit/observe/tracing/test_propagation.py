"""The context in the headers of a job: what is written is read, and what others write cannot break a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import Raw
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags, TraceState, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from outlast.core.bounds import HEADERS_LIMIT
from outlast.core.codec import check
from outlast.core.exchanges.values import ExchangeEvent
from outlast.observe.tracing.headers import with_context, with_event_context
from outlast.observe.tracing.propagation import MOST_HOPS, has_context, injected, origin_of
from tests.support.jobs import message

CONTEXT = SpanContext(0xABC, 0xDEF, False, TraceFlags(1))
PARENT = f"00-{0xABC:032x}-{0xDEF:016x}-01"


def state_of(text: str) -> SpanContext:
    return SpanContext(0xABC, 0xDEF, False, TraceFlags(1), TraceState.from_header([text]))


@pytest.mark.parametrize(
    ("context", "hops", "link", "state"),
    [
        (CONTEXT, 0, False, None),
        (CONTEXT, 3, False, "outlast=3"),
        (CONTEXT, 3, True, "outlast=link"),
        (state_of("other=1"), 0, False, "other=1"),
        (state_of("other=1"), 2, False, "outlast=2,other=1"),
        (state_of("other=1,outlast=7"), 2, False, "outlast=2,other=1"),
    ],
)
def test_the_state_says_how_far_the_trace_has_come(
    context: SpanContext, hops: int, link: bool, state: str | None
) -> None:
    headers = injected(context, hops=hops, link=link)
    assert headers == {"traceparent": PARENT} | ({} if state is None else {"tracestate": state})


@pytest.mark.parametrize(
    ("state", "parent", "hops"),
    [
        (None, True, 0),
        ("outlast=1", True, 1),
        (f"outlast={MOST_HOPS - 1}", True, MOST_HOPS - 1),
        (f"outlast={MOST_HOPS}", False, 0),
        ("outlast=999", False, 0),
        ("outlast=link", False, 0),
        ("outlast=99999999999999999999", True, 0),
        ("outlast=-1", True, 0),
        ("outlast=\u0663", True, 0),
        ("nonsense", True, 0),
    ],
)
def test_what_is_read_of_a_state(state: str | None, parent: bool, hops: int) -> None:
    origin = origin_of({"traceparent": PARENT} | ({} if state is None else {"tracestate": state}))
    assert origin is not None
    assert (origin.parent, origin.hops) == (parent, hops)
    assert origin.context.trace_id == 0xABC
    assert origin.context.is_remote
    assert "outlast" not in origin.context.trace_state


@pytest.mark.parametrize(
    "parent", ["", "nonsense", PARENT[:-1], f"00-{'0' * 32}-{'0' * 16}-01", f"ff-{'a' * 32}-{'b' * 16}-01"]
)
def test_a_parent_that_cannot_be_read_is_none(parent: str) -> None:
    assert origin_of({"traceparent": parent}) is None


def test_no_headers_have_no_origin() -> None:
    assert origin_of(None) is origin_of({}) is origin_of({"tracestate": "outlast=1"}) is None
    assert not has_context(None)


@given(some.from_regex(r"[0f][0f]-[0a-f]{32}-[0a-f]{16}-0[0-3]\n?", fullmatch=True))
def test_the_short_way_reads_what_the_standard_does(parent: str) -> None:
    found = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": parent}, Context()))
    context, origin = found.get_span_context(), origin_of({"traceparent": parent})
    assert (origin and origin.context) == (context if context.is_valid else None)


@given(some.text(), some.text())
def test_no_text_of_a_header_breaks_a_run(parent: str, state: str) -> None:
    origin_of({"traceparent": parent, "tracestate": state})


@pytest.mark.parametrize(
    ("size", "added"),
    [(0, {"traceparent", "tracestate"}), (8110, {"traceparent"}), (8150, set()), (HEADERS_LIMIT - 1, set())],
)
def test_a_job_never_gets_more_headers_than_are_accepted(size: int, added: set[str]) -> None:
    headers = {"x": "y" * size} if size else None
    made = with_context(message("q.1", 0.0, headers=headers), injected(CONTEXT, hops=3, link=True))
    check(made)
    assert set(made.headers or {}) - {"x"} == added


def test_an_event_never_gets_more_headers_than_its_copies_have_room_for() -> None:
    event = ExchangeEvent(id="e", exchange="orders", key="", body=Raw(b"1"), at=0.0, headers={"x": 1, "y": "z" * 7160})
    assert with_event_context(event, injected(CONTEXT)).headers == event.headers
    small = ExchangeEvent(id="e", exchange="orders", key="", body=Raw(b"1"), at=0.0, headers={"x": None})
    assert with_event_context(small, injected(CONTEXT)).headers == {"x": None, "traceparent": PARENT}
