"""The state of this process beside its modules' own objects: noted before the first run, put back after each one."""

from __future__ import annotations

import asyncio
import decimal
import faulthandler
import gc
import importlib
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["ProcessState"]

_raw_signal: Any = importlib.import_module("_signal")  # `signal` makes an enum of each answer: ten times as slow
_SIGNALS: Final = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_LIMITS: Final = sorted({value for name, value in vars(resource).items() if name.startswith("RLIMIT_")})
_ROOT: Final = Path("/")
_SEED_BYTES: Final = 16


class _Part(NamedTuple):
    """A part of the state. read: returns it, to compare. write: puts back what was read; None when nothing can."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object] | None = None


class ProcessState:
    """The state of this process at the time when this is made. What modules keep in globals is not part of it."""

    def __init__(self) -> None:
        self._folder = os.open(".", os.O_RDONLY | getattr(os, "O_PATH", 0))
        self._streams = [(number, os.dup(number), _file(number)) for number in range(3) if _file(number) is not None]
        self._decimal = decimal.getcontext().copy()
        self._path, self._modules = list(sys.path), len(sys.modules)
        self._parts = [(part, part.read()) for part in _parts()]

    def prepare(self, stack: ExitStack) -> None:
        """Prepare a run, in the context of the run. stack: closed when it has ended."""
        # Each context has the variable, but all share the object in it.
        decimal.setcontext(self._decimal.copy())
        stack.enter_context(warnings.catch_warnings())

    def restore(self) -> str:
        """Put it back; return "", or what could not be put back."""
        try:
            for timer in _TIMERS:
                signal.setitimer(timer, 0)  # first: an alarm must not meet the handler of another
            signal.set_wakeup_fd(-1)
            faulthandler.cancel_dump_traceback_later()
            os.fchdir(self._folder)
            random.seed(int.from_bytes(os.urandom(_SEED_BYTES)))
            for number, kept, file in self._streams:
                if _file(number) != file:
                    os.dup2(kept, number)
            for part, value in self._parts:
                if part.read() != value:
                    if part.write is not None:
                        part.write(value)
                    if part.read() != value:
                        return f"the {part.name} of its process"
            return self._restore_path()
        except Exception as error:  # a descriptor was closed, a right was given up
            return f"its process ({type(error).__name__}: {error})"

    def _restore_path(self) -> str:
        changed, imported = sys.path != self._path, len(sys.modules) != self._modules
        if changed and imported:
            return "sys.path, from which it imported modules"  # they may import more from there, later
        if changed:
            sys.path[:] = self._path
        self._modules = len(sys.modules)
        return ""


def _parts() -> list[_Part]:
    loggers = _Loggers()
    parts = [
        _Part("signal handlers", _handlers, _set_handlers),
        _Part("signal mask", _mask, lambda mask: signal.pthread_sigmask(signal.SIG_SETMASK, mask)),
        _Part("file mode mask", _umask, os.umask),
        _Part("environment", _environment, _set_environment),
        _Part("time zone", lambda: (time.tzname, time.timezone), lambda _: time.tzset()),
        _Part("locale", lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
        _Part("resource limits", lambda: [resource.getrlimit(each) for each in _LIMITS], _set_limits),
        _Part("priority", _priority, lambda value: os.setpriority(os.PRIO_PROCESS, 0, value)),
        _Part("root directory", lambda: _ROOT.stat().st_ino),
        _Part("standard streams", _streams, _set_streams),
        _Part("hooks", _hooks, _set_hooks),
        _Part("arguments", lambda: sys.argv[:], lambda words: sys.argv.__setitem__(slice(None), words)),
        _Part("interpreter limits", _interpreter, _set_interpreter),
        _Part("garbage collector", lambda: (gc.isenabled(), gc.get_threshold(), gc.get_debug()), _set_collector),
        _Part("default socket timeout", socket.getdefaulttimeout, socket.setdefaulttimeout),
        _Part(
            "fault handler", faulthandler.is_enabled, lambda on: (faulthandler.enable if on else faulthandler.disable)()
        ),
        _Part("event loop policy", _policy, _set_policy),
        _Part("multiprocessing start method", _start_method, _set_start_method),
        _Part("logging", loggers.read, loggers.write),
    ]
    if sys.platform == "linux":
        cores = _Part("cores", lambda: os.sched_getaffinity(0), lambda each: os.sched_setaffinity(0, each))
        users = _Part("users", lambda: (os.getresuid(), os.getresgid(), os.getgroups()))
        parts += [cores, users]
    return parts


# Of the operating system


def _file(number: int) -> tuple[int, int] | None:
    """Return what identifies the open file of a descriptor, None when it is closed."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _handlers() -> list[Any]:
    return [_raw_signal.getsignal(number) for number in _SIGNALS]


def _set_handlers(handlers: list[Any]) -> None:
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        if handler is not None and _raw_signal.getsignal(number) is not handler:  # None: C code has set it
            signal.signal(number, handler)


def _mask() -> Any:
    return _raw_signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _environment() -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = vars(os.environ)["_data"]  # a copy of `os.environb` decodes: 40 us
    return values.copy()


def _set_environment(values: dict[bytes, bytes]) -> None:
    for name in os.environb.keys() - values.keys():
        del os.environb[name]
    os.environb.update(values)
    time.tzset()


def _set_limits(limits: list[tuple[int, int]]) -> None:
    for each, limit in zip(_LIMITS, limits, strict=True):
        if resource.getrlimit(each) != limit:
            resource.setrlimit(each, limit)


def _priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


# Of the interpreter


def _streams() -> list[Any]:
    return [(each, getattr(each, "closed", False)) for each in (sys.stdin, sys.stdout, sys.stderr)]


def _set_streams(streams: list[Any]) -> None:
    (sys.stdin, _), (sys.stdout, _), (sys.stderr, _) = streams


def _hooks() -> tuple[Any, ...]:
    return (
        *(sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook),
        *(sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()),
    )


def _set_hooks(hooks: tuple[Any, ...]) -> None:
    sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook = hooks[:4]
    for put_back, hook in zip(
        (sys.settrace, sys.setprofile, threading.settrace, threading.setprofile), hooks[4:], strict=True
    ):
        put_back(hook)


def _interpreter() -> tuple[Any, ...]:
    return sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits(), sys.dont_write_bytecode


def _set_interpreter(values: tuple[Any, ...]) -> None:
    sys.setrecursionlimit(values[0])
    sys.setswitchinterval(values[1])
    sys.set_int_max_str_digits(values[2])
    sys.dont_write_bytecode = values[3]


def _set_collector(values: tuple[bool, tuple[int, int, int], int]) -> None:
    (gc.enable if values[0] else gc.disable)()
    gc.set_threshold(*values[1])
    gc.set_debug(values[2])


# Of modules that keep state of the whole process


def _policy() -> tuple[Any, ...]:
    """Return the policy, its current loop, and whether a loop was set: `get_event_loop` makes one if not."""
    if sys.version_info >= (3, 14):
        return ()
    policy = asyncio.get_event_loop_policy()
    local = getattr(policy, "_local", None)
    return policy, getattr(local, "_loop", None), getattr(local, "_set_called", None)


def _set_policy(values: tuple[Any, ...]) -> None:
    if sys.version_info >= (3, 14):
        return
    policy, loop, _ = values
    left = getattr(getattr(asyncio.get_event_loop_policy(), "_local", None), "_loop", None)
    if left is not None and left is not loop and not left.is_closed():
        left.close()
    asyncio.set_event_loop_policy(policy)
    if loop is None and hasattr(policy, "_local"):
        policy._local = type(policy._local)()


def _start_method() -> str | None:
    loaded = sys.modules.get("multiprocessing")
    method: str | None = None if loaded is None else loaded.get_start_method(allow_none=True)
    return method


def _set_start_method(method: str | None) -> None:
    sys.modules["multiprocessing"].set_start_method(method, force=True)


class _Loggers:
    """The set-up of the loggers that exist when this is made."""

    def __init__(self) -> None:
        known = logging.root.manager.loggerDict.values()
        self._loggers = [logging.root, *(each for each in known if isinstance(each, logging.Logger))]

    def read(self) -> list[Any]:
        each: list[Any] = [
            (one.level, one.propagate, one.disabled, one.handlers[:], one.filters[:]) for one in self._loggers
        ]
        return [logging.root.manager.disable, logging.getLogRecordFactory(), *each]

    def write(self, values: list[Any]) -> None:
        logging.disable(values[0])
        logging.setLogRecordFactory(values[1])
        for one, (level, propagate, disabled, handlers, filters) in zip(self._loggers, values[2:], strict=True):
            if one.level != level:
                one.setLevel(level)
            one.propagate, one.disabled, one.handlers[:], one.filters[:] = propagate, disabled, handlers, filters
