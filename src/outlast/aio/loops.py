"""Run a coroutine to its end in an event loop that no other task of it can end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from outlast.aio.signals import forked, in_forks, leave_fork

__all__ = ["apart", "complete"]

T = TypeVar("T")

_logger = logging.getLogger("outlast.loop")


def complete(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in the loop and return its result; raise what it raises, and errors of the loop itself.

    asyncio ends a loop when any task or callback raises SystemExit or KeyboardInterrupt, or calls `loop.stop()`. Here
    the loop goes on: no other task is cancelled, and who awaits the task gets its error. Each such exception is logged
    with the name of its task, a `loop.stop()` once.
    """
    task = loop.create_task(work)
    task.add_done_callback(_stop)
    in_forks(loop.stop)
    try:
        _run_until_done(loop, task)
    finally:
        in_forks(None)  # a loop that is closed may refuse the call
    return task.result()


def _run_until_done(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    stopped = False
    while not task.done():
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            if forked():
                leave_fork(error)
            if not _ended_with(task, error):
                _log("%s raised %s, and the event loop goes on", _origin(error), type(error).__name__, error=error)
        else:
            if forked():  # in a task, and the task has returned
                leave_fork(None)
            if not task.done() and not stopped:
                stopped = True
                _log("loop.stop() was called, and the event loop goes on (further calls are not logged)")


def _log(text: str, *args: object, error: BaseException | None = None) -> None:
    with contextlib.suppress(BaseException):  # a handler of the log is the app's, and so is the text of the error
        _logger.error(text, *args, exc_info=error)


async def apart(work: Coroutine[Any, Any, T], torn: Callable[[str], NoReturn]) -> T:
    """Run foreign code in a task of its own, and return its result. `torn` ends the process when it cancels this task.

    Code that cancels all tasks of its loop would otherwise look like code that was cancelled.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        torn("the task around the code of a job was cancelled")
    return task.result()


def _stop(task: asyncio.Task[Any]) -> None:
    # Either exception of the task itself ends `run_forever` on its own: a stop would end the next run of the loop.
    if task.cancelled() or not isinstance(task.exception(), SystemExit | KeyboardInterrupt):
        task.get_loop().stop()


def _ended_with(task: asyncio.Task[Any], error: BaseException) -> bool:
    return task.done() and not task.cancelled() and task.exception() is error


def _origin(error: BaseException) -> str:
    """Return the task that ended with this error: the loop does not tell. It takes some 10 ms.

    A callback has no name, and a task may be gone already (on uvloop): asyncio itself logs such a one with its name.
    """
    for each in gc.get_objects():  # not get_referrers: a task does not answer it
        if issubclass(type(each), asyncio.Task) and any(held is error for held in gc.get_referents(each)):
            return f"task {each.get_name()!r}"
    return "a task or a callback"
