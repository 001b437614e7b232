"""Adds the context of a creation to the headers of a job or an event, where there is room for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from outlast.core.bounds import HEADERS_LIMIT
from outlast.core.exchanges.checks import EVENT_HEADERS_LIMIT, header_text
from outlast.core.exchanges.values import ExchangeEvent
from outlast.core.message import Message
from outlast.observe.tracing.propagation import PARENT, STATE

__all__ = ["with_context", "with_event_context"]


def with_context(message: Message, context: Mapping[str, str]) -> Message:
    """Return the message with these headers too; without them when it would have too many to be accepted."""
    if message.headers is None:
        return structs.replace(message, headers=context)
    return structs.replace(message, headers=_joined(message.headers, context, HEADERS_LIMIT))


def with_event_context(event: ExchangeEvent, context: Mapping[str, str]) -> ExchangeEvent:
    """Return the event with these headers too; without them when it would have too many."""
    return structs.replace(event, headers=_joined(event.headers, context, EVENT_HEADERS_LIMIT))


def _joined(headers: Mapping[str, Any], context: Mapping[str, str], limit: int) -> dict[str, Any]:
    """Return both, without a context that was there before. If there is no room, the state is left out, then all."""
    headers = {name: value for name, value in headers.items() if name not in (PARENT, STATE)}
    for added in (context, {PARENT: context[PARENT]}):
        joined = {**headers, **added}
        if not headers or sum(len(name) + len(header_text(value)) for name, value in joined.items()) <= limit:
            return joined
    return headers
