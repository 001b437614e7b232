"""Tell async callables from plain ones, also where a plain one returns a coroutine that is never awaited."""

from __future__ import annotations

import functools
import inspect
from types import FunctionType, MethodType
from typing import Final

__all__ = ["is_async", "unawaited"]

_FUNCTIONS: Final = (FunctionType, MethodType)


def is_async(call: object) -> bool:
    """Return whether it is an async function, a partial of one, or an object with an async `__call__`.

    A function says it by a flag of its code; one that has attributes may also carry the mark of `inspect`.
    """
    if type(call) in _FUNCTIONS and (code := getattr(call, "__code__", None)) is not None:
        if code.co_flags & inspect.CO_COROUTINE:
            return True
        if not call.__dict__:
            return False
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
