"""Tell async callables from plain ones, also where a plain one returns a coroutine that is never awaited."""

from __future__ import annotations

import functools
import inspect

__all__ = ["is_async", "unawaited"]


def is_async(call: object) -> bool:
    """Return whether it is an async function, a partial of one, or an object with an async `__call__`."""
    while isinstance(call, functools.partial):
        call = call.func
    if inspect.iscoroutinefunction(call):
        return True
    return not isinstance(call, type) and inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004


def unawaited(value: object) -> bool:
    """Return whether a value is awaitable, where a plain one is expected; closes a coroutine, or Python warns."""
    if not inspect.isawaitable(value):
        return False
    if inspect.iscoroutine(value):
        value.close()
    return True
