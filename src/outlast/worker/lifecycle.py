"""Runs the start and stop hooks of an app in a worker process: `@shop.on_start`, `@shop.on_stop`."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from outlast.aio.tasks import cancel, ended_within

__all__ = ["HookFailed", "start", "stop"]

_logger = logging.getLogger("outlast.worker")
_LEAST: Final = 1.0
"""Seconds that stop hooks have when nothing is left of the grace period."""
_UNWIND: Final = 1.0
"""Seconds that a cancelled hook has for its clean-up."""


class HookFailed(RuntimeError):
    """A start hook raised, so the worker has not started; the log has its traceback."""


async def start(hooks: Sequence[Callable[[], Any]], stopped: asyncio.Event) -> bool:
    """Call the hooks in order; return False if `stopped` was set before they were done. Raise HookFailed."""
    for hook in hooks:
        call = asyncio.ensure_future(_call(hook))
        try:
            await ended_within(None, asyncio.wait((call,)), stopped.wait())
        finally:
            if not call.done():
                await cancel(call)
        if call.cancelled():
            if stopped.is_set():
                return False
            raise HookFailed(_failed("on_start", hook, "its task was cancelled"))
        if error := call.exception():
            _logger.error("%s: the worker does not start", _failed("on_start", hook, _text(error)), exc_info=error)
            raise HookFailed(_failed("on_start", hook, _text(error)))
    return not stopped.is_set()


async def stop(hooks: Sequence[Callable[[], Any]], seconds: float, hurry: asyncio.Event) -> None:
    """Call the hooks in reverse order, for `seconds` in all, at least 1, or until `hurry` is set; log their errors."""
    loop = asyncio.get_running_loop()
    hurries = hurry.is_set()
    deadline = loop.time() + (_LEAST if hurries else max(_LEAST, seconds))
    never = asyncio.Event()
    for hook in reversed(hooks):
        call = asyncio.ensure_future(_call(hook))
        try:
            await ended_within(
                max(0.0, deadline - loop.time()), asyncio.wait((call,)), (never if hurries else hurry).wait()
            )
        finally:
            late = not call.done()
            if late:
                call.cancel()
                await asyncio.wait((call,), timeout=_UNWIND)
        if late:
            _logger.error("%s", _failed("on_stop", hook, "it had not ended within the grace period"))
        elif call.cancelled():
            _logger.error("%s", _failed("on_stop", hook, "its task was cancelled"))
        elif error := call.exception():
            _logger.error("%s", _failed("on_stop", hook, _text(error)), exc_info=error)


async def _call(hook: Callable[[], Any]) -> None:
    try:
        made = hook()
        if inspect.isawaitable(made):
            await made
    except (SystemExit, KeyboardInterrupt) as error:  # as a task of its own it would end the event loop
        raise RuntimeError(f"it raised {type(error).__name__}") from error


def _failed(decorator: str, hook: Callable[[], Any], why: str) -> str:
    return f"the {decorator} hook {getattr(hook, '__qualname__', repr(hook))} failed: {why}"


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
