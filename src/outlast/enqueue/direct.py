"""Running a handler right here, outside any worker, with a context when it takes one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec import Raw

from outlast.core.message import Message
from outlast.core.registry import Declaration
from outlast.declare.context import Context

__all__ = ["call_directly"]


class _DirectRun:
    """A run without a job behind it: nothing times out, nothing cancels, progress goes nowhere."""

    def __init__(self) -> None:
        self.follow_ups: list[Message] = []

    @property
    def cancelled(self) -> bool:
        return False

    @property
    def remaining(self) -> float | None:
        return None

    @property
    def message(self) -> Message | None:
        return None

    def follow(self, message: Message) -> None:
        self.follow_ups.append(message)

    def used(self, cpu: float) -> None:
        """Nobody measures a call."""

    def note(self, name: str, value: Raw) -> None:
        """Nobody reads the progress of a call."""


async def call_directly(
    declaration: Declaration,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    publish: Callable[[Sequence[Message]], Awaitable[object]],
    overrides: Mapping[Any, Callable[..., Any]],
) -> Any:
    """Call the handler and return its value; a plain function runs in a thread. No middleware, retry, timeout, record.

    What it depends on and is not given is made, or what `overrides` has instead.
    What it enqueued through its context is published when it has returned, as a worker would.
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
