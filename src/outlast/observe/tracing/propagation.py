"""The context of a creation in the headers of a job: W3C `traceparent` and `tracestate` (docs/wire-format.md).

The member `outlast` of `tracestate` is how many jobs the trace has passed already, or `link`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["MOST_HOPS", "PARENT", "STATE", "Origin", "has_context", "injected", "origin_of"]

PARENT: Final = "traceparent"
STATE: Final = "tracestate"
_MEMBER: Final = "outlast"
_LINK: Final = "link"
MOST_HOPS: Final = 16
"""Jobs that one trace goes through, each enqueued by the one before: the next one begins a trace, linked to the last.
Without an end, a job that enqueues itself would make one trace of all its runs."""
_USUAL: Final = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-0([01])\\Z")
_propagator: Final = TraceContextTextMapPropagator()


class Origin(NamedTuple):
    """The creation of a job. parent: whether its runs are spans of its trace; hops: jobs before it in the trace."""

    context: SpanContext
    parent: bool
    hops: int


def has_context(headers: Mapping[str, Any] | None, copied: str | None = None) -> bool:
    """Tell whether headers have a context that is to be kept.

    copied: that of the run which makes the job. A handler that passes on all headers of its job passes it on too, and
    means no context by it.
    """
    return headers is not None and PARENT in headers and (copied is None or headers[PARENT] != copied)


def origin_of(headers: Mapping[str, str] | None) -> Origin | None:
    """Return the creation that headers tell of; None without one, or for one that cannot be read."""
    if not has_context(headers):
        return None
    assert headers is not None
    if STATE not in headers and (plain := _plain(headers[PARENT])) is not None:
        return Origin(plain, True, 0)
    found = get_current_span(_propagator.extract(headers, Context())).get_span_context()
    if not found.is_valid:
        return None
    member = found.trace_state.get(_MEMBER, "0")
    hops = int(member) if member.isascii() and member.isdecimal() and len(member) < 4 else 0
    state = found.trace_state.delete(_MEMBER) if _MEMBER in found.trace_state else found.trace_state
    context = SpanContext(found.trace_id, found.span_id, True, found.trace_flags, state)
    linked = member == _LINK or hops >= MOST_HOPS
    return Origin(context, not linked, 0 if linked else hops)


def _plain(parent: str) -> SpanContext | None:
    """Read the usual text in a quarter of the time; None for all else."""
    found = _USUAL.match(parent)
    if found is None:
        return None
    context = SpanContext(int(found[1], 16), int(found[2], 16), True, TraceFlags(int(found[3])))
    return context if context.is_valid else None


def injected(context: SpanContext, *, hops: int = 0, link: bool = False) -> dict[str, str]:
    """Return the headers for a job that was created in this context. link: its runs are traces of their own."""
    headers = {PARENT: f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}
    member = _LINK if link else str(hops) if hops else ""
    state = context.trace_state
    if member:
        state = state.update(_MEMBER, member) if _MEMBER in state else state.add(_MEMBER, member)
    if state:
        headers[STATE] = state.to_header()
    return headers
