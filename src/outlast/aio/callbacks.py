"""Calls the callbacks of others from tasks and callbacks of the loop, which an error of theirs must not end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["tell"]

_Value = TypeVar("_Value")


def tell(callback: Callable[[_Value], object] | None, value: _Value) -> Exception | None:
    """Call it, if there is one. Return its error, which is reported to the exception handler of the running loop."""
    if callback is None:
        return None
    try:
        callback(value)
    except Exception as error:
        context = {"message": f"{callback!r} raised", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
        return error
    return None
