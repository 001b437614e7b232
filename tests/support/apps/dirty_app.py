"""An app whose jobs change their process in every way that the next job must not see; each way has a probe."""

from __future__ import annotations

import asyncio
import decimal
import faulthandler
import gc
import io
import locale
import logging
import multiprocessing
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from outlast import Outlast, Retry
from outlast.settings import Settings

__all__ = ["PROBES", "RECYCLED", "RESTORED", "app", "dirty_jobs"]

tenant: ContextVar[str] = ContextVar("tenant", default="none")
log = logging.getLogger("tests.dirty")
kept: list[Any] = []
"""What a module keeps in its globals: that stays."""


def use(value: Any) -> None:
    kept.append(value)


async def stubborn() -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


def removed_folder() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)


def own_zone() -> None:
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    del os.environ["TZ"]


def own_stdout() -> None:
    sys.stdout = io.StringIO()


def other_stdout() -> None:
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 1)


def lower_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))


def one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def own_wakeup() -> None:
    mine, other = socket.socketpair()
    mine.setblocking(False)
    use((mine, other))
    signal.set_wakeup_fd(mine.fileno())


def legacy_loop() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    use(loop.create_task(asyncio.sleep(60)))


def own_logging() -> None:
    logging.basicConfig(level=logging.DEBUG, force=True)
    log.setLevel(logging.ERROR)
    log.addFilter(lambda _: False)
    logging.disable(logging.CRITICAL)


async def adds_handlers() -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        asyncio.get_running_loop().add_signal_handler(number, print)


async def leaves_a_task() -> None:
    use(asyncio.get_running_loop().create_task(asyncio.sleep(60)))


async def leaves_a_generator() -> None:
    async def numbers() -> Any:
        yield 1
        yield 2

    generator = numbers()
    await anext(generator)
    use(generator)


async def changes_the_loop() -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.set_exception_handler(lambda *_: None)
    loop.set_task_factory(lambda loop, coroutine, **_: asyncio.Task(coroutine, loop=loop))


async def stops_the_loop() -> None:
    asyncio.get_running_loop().stop()


async def a_child_task_exits() -> None:
    async def leave() -> None:
        sys.exit(3)

    try:
        await asyncio.gather(leave())
    except SystemExit:
        return


def in_a_thread(*, daemon: bool) -> None:
    threading.Thread(target=threading.Event().wait, daemon=daemon, name="left").start()


async def busy_executor() -> None:
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)


async def idle_executor() -> None:
    await asyncio.to_thread(int)


def ended_child() -> None:
    use(subprocess.Popen(["true"]))


def fork_that_returns() -> None:
    os.fork()


def imports_from_a_path() -> None:
    with tempfile.TemporaryDirectory() as folder:
        name = f"module_{os.getpid()}"
        Path(folder, f"{name}.py").touch()
        sys.path.insert(0, folder)
        __import__(name)


RESTORED: dict[str, Callable[[], Any]] = {
    "context": lambda: tenant.set("ann"),
    "folder": lambda: os.chdir("/"),
    "removed folder": removed_folder,
    "environment": lambda: os.environ.update(PATH="/nowhere", DIRTY="1"),
    "unset variable": lambda: os.environ.pop("PATH"),
    "time zone": own_zone,
    "umask": lambda: os.umask(0o777),
    "signal handler": lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    "signal ignored": lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
    "handlers of a loop": adds_handlers,
    "signal mask": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}),
    "alarm": lambda: signal.alarm(1),
    "timer": lambda: signal.setitimer(signal.ITIMER_PROF, 60),
    "wake-up": own_wakeup,
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C"),
    "limit": lower_files,
    "cores": one_core,
    "path": lambda: sys.path.insert(0, "/nowhere"),
    "argv": lambda: sys.argv.append("--more"),
    "stdout": own_stdout,
    "descriptor of stdout": other_stdout,
    "no stdout": lambda: os.close(1),
    "hook": lambda: setattr(sys, "excepthook", print),
    "trace": lambda: sys.setprofile(lambda *_: None),
    "recursion": lambda: sys.setrecursionlimit(5000),
    "digits": lambda: sys.set_int_max_str_digits(0),
    "collector": gc.disable,
    "warnings": lambda: warnings.simplefilter("error"),
    "decimal": lambda: setattr(decimal.getcontext(), "prec", 3),
    "random": lambda: random.seed(1),
    "socket timeout": lambda: socket.setdefaulttimeout(0.1),
    "fault handler": lambda: faulthandler.enable(2),
    "start method": lambda: multiprocessing.set_start_method("spawn"),
    "logging": own_logging,
    "policy": lambda: asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy()),
    "legacy loop": legacy_loop,
    "no loop": lambda: asyncio.set_event_loop(None),
    "task": leaves_a_task,
    "generator": leaves_a_generator,
    "loop": changes_the_loop,
    "stopped loop": stops_the_loop,
    "exit of a task": a_child_task_exits,
    "idle executor": idle_executor,
    "ended child": ended_child,
    "fork that returns": fork_that_returns,
    "blocking enqueue": lambda: dirty_jobs["probe"].enqueue_sync(),
    "semaphore": lambda: use(multiprocessing.get_context("spawn").Semaphore()),
}
"""What is put back in the same process."""

RECYCLED: dict[str, Callable[[], Any]] = {
    "task that cannot be ended": lambda: _leave(stubborn()),
    "thread": lambda: in_a_thread(daemon=False),
    "daemon thread": lambda: in_a_thread(daemon=True),
    "executor": busy_executor,
    "child": lambda: use(subprocess.Popen(["sleep", "300"])),
    "files": lambda: use([os.open(os.devnull, os.O_RDONLY) for _ in range(200)]),
    "closed stdout": lambda: sys.stdout.close(),
    "imported path": imports_from_a_path,
}
"""What only a new process is without."""


async def _leave(coroutine: Any) -> None:
    use(asyncio.get_running_loop().create_task(coroutine))
    await asyncio.sleep(0)


def _loop_of_main() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loop = asyncio.get_event_loop()
    try:
        return loop.is_closed(), len(asyncio.all_tasks(loop)), loop.get_debug()
    finally:
        loop.close()


async def _loop_of_run() -> Any:
    loop = asyncio.get_running_loop()
    return (
        *(len(asyncio.all_tasks()), loop.get_debug(), loop.get_exception_handler() is None),
        loop.get_task_factory() is None,
    )


def _handlers() -> list[str]:
    return [str(signal.getsignal(number)).partition(" at ")[0] for number in sorted(signal.valid_signals())]


def _children() -> list[str]:
    found = (each for path in Path("/proc/self/task").glob("*/children") for each in path.read_text().split())
    commands = [Path(f"/proc/{each}/cmdline").read_text() for each in found]
    return [each for each in commands if "resource_tracker" not in each]


def _threads() -> list[str]:
    return sorted(each.name for each in threading.enumerate() if not each.name.startswith("outlast-"))


PROBES: dict[str, Callable[[], Any]] = {
    "context": tenant.get,
    "folder": os.getcwd,
    "environment": lambda: sorted(os.environ.items()),
    "zone": lambda: time.tzname,
    "umask": lambda: os.umask(os.umask(0o22)),
    "handlers": _handlers,
    "mask": lambda: sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "timers": lambda: [signal.getitimer(each)[0] for each in range(3)],
    "locale": lambda: locale.setlocale(locale.LC_ALL),
    "limit": lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
    "cores": lambda: sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
    "path": lambda: sys.path[:],
    "argv": lambda: [*sys.argv[1:2], len(sys.argv)],
    "stdout": lambda: (sys.stdout is sys.__stdout__, sys.stdout.closed, os.fstat(1).st_ino),
    "hooks": lambda: (sys.excepthook is sys.__excepthook__, sys.getprofile() is None),
    "limits": lambda: (sys.getrecursionlimit(), sys.get_int_max_str_digits(), gc.isenabled()),
    "warnings": lambda: len(warnings.filters),
    "decimal": lambda: decimal.getcontext().prec,
    "random": lambda: random.random() == random.Random(1).random(),
    "timeout": socket.getdefaulttimeout,
    "fault handler": faulthandler.is_enabled,
    "start method": lambda: multiprocessing.get_start_method(allow_none=True),
    "logging": lambda: (log.isEnabledFor(logging.INFO), len(logging.root.handlers), len(log.filters)),
    "loop of main": _loop_of_main,
    "loop": _loop_of_run,
    "threads": _threads,
    "children": _children,
}


def make_dirty(name: str) -> None:
    {**RESTORED, **RECYCLED}[name]()


async def make_dirty_async(name: str) -> None:
    await {**RESTORED, **RECYCLED}[name]()


def probe() -> tuple[int, dict[str, str]]:
    """Return the process and what each plain probe sees in it."""
    plain = {name: each for name, each in PROBES.items() if not asyncio.iscoroutinefunction(each)}
    return os.getpid(), {name: repr(each()) for name, each in plain.items()}


async def probe_async() -> str:
    """Return what a coroutine sees of its event loop."""
    return repr(await _loop_of_run())


app = Outlast("dirty", settings=Settings(url=os.environ.get("OUTLAST_TEST_URL", "memory:"), processes=1))
dirty_jobs: dict[str, Any] = {
    each.__name__: app.job(isolate="process", retry=Retry(attempts=1), timeout=60)(each)
    for each in (make_dirty, make_dirty_async, probe, probe_async)
}
