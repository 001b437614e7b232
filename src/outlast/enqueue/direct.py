"""Run a handler in the calling process, outside a worker, with its context and dependencies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from msgspec import Raw

from outlast.core.message import Message
from outlast.core.registry import Declaration
from outlast.declare.context import Context
from outlast.declare.once import Effects

__all__ = ["call_directly"]


class _Unkept:
    """The effects of a direct call: there is no run before it, and no record."""

    def read(self) -> Future[Raw | None]:
        return _done(None)

    def keep(self, note: Raw) -> Future[None]:
        return _done(None)


def _done(value: None) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


class _DirectRun:
    """A run without a job: it has no timeout, cannot be cancelled and drops its progress."""

    cancelled = False
    remaining: float | None = None
    message: Message | None = None
    traceparent = ""

    def __init__(self) -> None:
        self.follow_ups: list[Message] = []
        self.effects = Effects(_Unkept())

    def follow(self, message: Message) -> None:
        self.follow_ups.append(message)

    def used(self, cpu: float) -> None:
        """Do nothing: a direct call is not measured."""

    def note(self, name: str, value: Raw) -> None:
        """Do nothing: a direct call has no record."""


async def call_directly(
    declaration: Declaration,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    publish: Callable[[Sequence[Message]], Awaitable[object]],
    overrides: Mapping[Any, Callable[..., Any]],
) -> Any:
    """Call the handler and return its value; a plain function runs in a thread. No middleware, retry, timeout, record.

    Dependencies that the caller does not pass are made, with `overrides` applied. Jobs that the handler enqueued
    through its context are published after it returned.
    """
    run = _DirectRun()
    handler = declaration.handler
    if declaration.needs:
        from outlast.declare.injection import supplied

        handler = supplied(declaration, overrides)
    if declaration.takes_context or declaration.needs:
        context = Context(id=f"{declaration.queue}.inline", queue=declaration.queue, kind=declaration.kind, run=run)
        args = (context, *args)
    if declaration.on_loop:
        value = await handler(*args, **kwargs)
    else:
        value = await asyncio.to_thread(handler, *args, **kwargs)
    if run.follow_ups:
        await publish(run.follow_ups)
    return value
