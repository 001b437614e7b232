"""What tracing offers to the enqueue and to the worker: they know no library of it (docs/tracing.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from msgspec import Raw

from outlast.core.exchanges.values import ExchangeEvent
from outlast.core.message import Delivery, Message
from outlast.core.settlement import Settlement

__all__ = ["RunTrace", "Tracer", "Tracing"]


class RunTrace(Protocol):
    """The span of one run. No method raises."""

    @property
    def carried(self) -> Mapping[str, str]:
        """What a child process needs, to go on with the trace."""

    def enter(self) -> Any:
        """Make the span the current one of this context; return what `leave` needs."""

    def leave(self, entered: Any) -> None:
        """Make the span before it the current one again."""

    def follow(self, message: Message) -> Message:
        """Return a follow-up of the run, with the context of its creation in its headers."""

    def end(self, settlement: Settlement | None) -> None:
        """End the span, by what becomes of the job; None: the run was superseded."""


class Tracer(Protocol):
    """Makes the spans of this process. Nothing raises but the work in the blocks."""

    def sending(self, messages: Sequence[Message]) -> AbstractContextManager[Sequence[Message]]:
        """Make the span of a publish around the block; give the messages with its context in their headers."""

    def publishing(self, events: Sequence[ExchangeEvent]) -> AbstractContextManager[Sequence[ExchangeEvent]]:
        """Make the same for events, which pass their headers to their copies."""

    def began(self, delivery: Delivery) -> RunTrace | None:
        """Begin the span of a run; None where that fails."""


class Tracing(Protocol):
    """The tracing of one app."""

    def tracer(self) -> Tracer | None:
        """Return the tracer of this process, None while nothing here is traced. Cheap: it is asked at each job."""

    def own_process(self) -> None:
        """Let the spans of handlers and of libraries take the same way, in a process that is Outlast's alone."""

    def relay(self, send: Callable[[Raw], None]) -> None:
        """Give the spans of this child process to `send`, one by one, unless the app has a way of its own."""

    def in_child(self, message: Message, carried: Mapping[str, str]) -> RunTrace | None:
        """Return the run of a child process, whose span is in its worker. carried: of that span."""

    def take(self, span: Raw) -> None:
        """Take a span of a child process."""

    def flush(self, seconds: float) -> None:
        """Send what is not sent yet within `seconds`, from any thread; drop and count what is left of it then."""
