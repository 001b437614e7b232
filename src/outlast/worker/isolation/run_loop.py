"""Runs one coroutine in an event loop of its own, and ends what it left in the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

from outlast.aio.loops import apart, complete

__all__ = ["RunLoop"]

_ENDING: Final = 1.0
"""Seconds that the tasks and generators that a run left have for their clean-up."""


class RunLoop:
    """The event loop of one run, made when the run needs one. left: what could not be ended, "" for nothing.

    torn: ends the process when the run has cancelled the task around it (`apart`).
    """

    def __init__(self, torn: Callable[[str], NoReturn]) -> None:
        self.left = ""
        self._torn = torn

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end, then close the loop; return its value or raise its error.

        A SystemExit or KeyboardInterrupt of another task, and `loop.stop()`, do not end the loop.
        """
        loop = asyncio.new_event_loop()
        try:
            asyncio.set_event_loop(loop)
            return complete(loop, apart(coroutine, self._torn))
        finally:
            self._close(loop)

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            complete(loop, _end(loop, tasks))
            if any(not task.done() for task in tasks):
                self.left = "a task that does not end when it is cancelled"
            for task in tasks:
                _report(loop, task)
        except Exception as error:
            self.left = f"its event loop ({type(error).__name__}: {error})"
        finally:
            asyncio.set_event_loop(None)
            loop.close()


async def _end(loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[Any]]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=_ENDING)
    await asyncio.wait_for(loop.shutdown_asyncgens(), _ENDING)


def _report(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    """Log the error of a task that the run left, as `asyncio.run` does."""
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        text = f"a task of the run failed after its handler had returned: {task.get_name()}"
        loop.call_exception_handler({"message": text, "exception": error, "task": task})
