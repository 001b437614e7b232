"""The signals of a process, from its first moment; and what a fork of it must not inherit."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, Final, NoReturn

__all__ = ["STOPS", "exit_on_stop", "forked", "handle", "ignore_stops", "in_forks", "leave_fork", "on_signals"]

STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_Handler = Callable[[int, FrameType | None], Any]
_handled: dict[int, tuple[_Handler, Any]] = {}
"""By signal: the handler that was set here, and the disposition before it."""
_masks = threading.local()
_fork = False
_in_forks: Callable[[], None] | None = None


def handle(handler: _Handler, *numbers: int) -> None:
    """Call `handler` for these signals, in this process but in none that it forks. Call it in the main thread.

    By a handler also where nothing is to be done: an ignored signal stays ignored in the programs that a job starts.
    """
    global _fork  # noqa: PLW0603 - one process, one answer
    _fork = False
    if not _handled:
        os.register_at_fork(before=_before_fork, after_in_parent=_unblock, after_in_child=_after_fork)
    for number in numbers:
        before = signal.signal(number, handler)
        set_here = _handled.get(number)
        _handled[number] = (handler, set_here[1] if set_here is not None and before is set_here[0] else before)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def ignore_stops() -> None:
    """Do nothing on stop signals: an operator sends them to every process, and the parent stops this one."""
    handle(_do_nothing, *STOPS)


def exit_on_stop(*, hangup: bool) -> None:
    """End this process with code 0 on a stop signal: nothing has begun. hangup: SIGHUP does too, else it does nothing.

    As PID 1 a process without a handler would ignore them, as Linux has it.
    """
    handle(_exit, signal.SIGTERM, signal.SIGINT)
    handle(_exit if hangup else _do_nothing, signal.SIGHUP)


@contextlib.contextmanager
def on_signals(calls: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Make these calls on the running loop within the block; restore the handlers of before at its end.

    No moment is left in which a signal that had a handler has its default effect.
    """
    import asyncio  # here: `exit_on_stop` must not wait for this import

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in calls}
    for number, call in calls.items():
        loop.add_signal_handler(number, call)
    try:
        yield
    finally:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, calls)
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(0)


# Forks


def forked() -> bool:
    """Whether this process is a fork of one that handles signals here: it must not touch that one's jobs."""
    return _fork


def in_forks(call: Callable[[], None] | None) -> None:
    """Make this call first in every fork of this process, in place of the call that was given before; None for none."""
    global _in_forks  # noqa: PLW0603
    _in_forks = call


def leave_fork(error: BaseException | None) -> NoReturn:
    """End a fork whose code returned, or raised `error`, into the code of the process that it was forked from.

    Its exit code is the one of the exception, as in a program of its own: sys.exit() in a fork is common.
    """
    code: Any = 0
    if isinstance(error, SystemExit):
        code = error.code
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)  # noqa: T201 - as Python does
        code = 1
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit((code or 0) & 0xFF)


def _before_fork() -> None:
    # A signal to the new process must wait until its handlers are its own: else it is lost in ours.
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _handled)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _after_fork() -> None:
    global _fork  # noqa: PLW0603
    _fork = True
    if _in_forks is not None:
        _in_forks()
    signal.set_wakeup_fd(-1)  # it would wake the event loop of the parent
    for number, (handler, before) in _handled.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, before if before is not None else signal.SIG_DFL)
    _unblock()
