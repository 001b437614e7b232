"""Handlers that leave their process in another state than they found it in."""

from __future__ import annotations

import asyncio
import atexit
import builtins
import contextvars
import gc
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from outlast import Context
from tests.faults.hostile.declare import fails, way


def refuse(*_: Any, **__: Any) -> Any:
    raise RuntimeError("spoilt")


@way()
async def replaces_the_signal_handlers() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, refuse)
    await asyncio.sleep(0.05)


@way()
def blocks_all_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


@way()
def takes_the_wake_up_descriptor() -> None:
    signal.set_wakeup_fd(-1)


@way()
def removes_its_folder() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    Path(folder).rmdir()


@way()
def forbids_all_to_its_files() -> None:
    os.umask(0o777)


@way()
def forgets_modules() -> None:
    for name in [each for each in sys.modules if each.startswith(("outlast", "json", "msgspec", "pydantic"))]:
        del sys.modules[name]


@way()
def forgets_the_environment() -> None:
    ledger = os.environ["OUTLAST_TEST_LEDGER"]
    os.environ.clear()
    os.environ["OUTLAST_TEST_LEDGER"] = ledger


@way()
def forgets_where_modules_are() -> None:
    sys.path[:] = []
    sys.path_importer_cache.clear()


@way()
def leaves_garbage() -> None:
    gc.disable()
    gc.freeze()


@way()
def lowers_the_recursion_limit() -> None:
    for limit in range(50, 1000):
        try:
            sys.setrecursionlimit(limit)
        except RecursionError:
            continue
        return


@way()
def turns_the_log_off() -> None:
    logging.disable(logging.CRITICAL)
    logging.raiseExceptions = False


@way()
def logs_to_a_handler_that_raises() -> None:
    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit

    for name in (None, "outlast"):
        logging.getLogger(name).addHandler(Raises())


@way()
def closes_its_output() -> None:
    sys.stdout.close()
    sys.stderr.close()


@way()
def closes_the_descriptors_of_its_output() -> None:
    for number in (0, 1, 2):
        os.close(number)


@way()
def takes_its_output_away() -> None:
    sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None  # type: ignore[misc]


@way()
def hooks_the_exceptions() -> None:
    sys.excepthook = sys.unraisablehook = threading.excepthook = refuse


@way()
async def handles_the_errors_of_the_loop() -> None:
    asyncio.get_running_loop().set_exception_handler(refuse)
    asyncio.get_running_loop().call_soon(refuse)
    await asyncio.sleep(0)


@way()
def debugs_the_loop() -> None:
    asyncio.get_running_loop().set_debug(True)
    asyncio.get_running_loop().slow_callback_duration = 0


@way(runs=0, deaths=2)
def makes_tasks_in_another_way() -> None:
    asyncio.get_running_loop().set_task_factory(refuse)


@way()
async def shuts_the_threads_of_the_loop_down() -> None:
    await asyncio.get_running_loop().shutdown_default_executor()


@way()
def sets_no_loop() -> None:
    asyncio.set_event_loop(None)
    asyncio.set_event_loop_policy(None)


@way()
def leaves_a_thread_that_raises() -> None:
    threading.Thread(target=refuse, daemon=True).start()


@way()
async def leaves_a_hook_that_hangs() -> None:
    atexit.register(time.sleep, 3600)


@way()
async def leaves_what_raises_when_it_is_collected() -> None:
    class Last:
        def __del__(self) -> None:
            raise SystemExit

    last = [Last(), Last()]
    last.append(last)  # type: ignore[arg-type]
    del last
    gc.collect()


@way()
async def leaves_a_generator_open() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise SystemExit

    await anext(numbers())
    await asyncio.sleep(0.01)


@way()
def sets_variables_of_its_context() -> None:
    for variable in list(contextvars.copy_context()):
        variable.set(None)


@way()
async def goes_on_when_it_has_ended(ctx: Context) -> None:
    async def on() -> None:
        await asyncio.sleep(0.2)
        ctx.progress(1)

    asyncio.create_task(on())  # noqa: RUF006 - that is the fault


@way()
def makes_errors_of_warnings() -> None:
    warnings.simplefilter("error")


@fails("RuntimeError")
def traces_every_call() -> None:
    sys.settrace(refuse)
    sys.setprofile(None)


@way()
def profiles_every_call() -> None:
    sys.setprofile(lambda *_: None)


@way()
def replaces_print() -> None:
    builtins.print = builtins.input = refuse


@way()
def changes_the_hash_of_switching() -> None:
    sys.setswitchinterval(5)


@way(mode="process")
def spoils_its_child_process() -> None:
    removes_its_folder()
    forbids_all_to_its_files()
    forgets_modules()
    forgets_where_modules_are()
    leaves_a_thread_that_raises()
    turns_the_log_off()
    closes_its_output()
    builtins.print = refuse
    time.time = time.monotonic = refuse
    asyncio.sleep = refuse
    atexit.register(time.sleep, 3600)


@way()
def stops_the_clock() -> None:
    time.time = lambda: 0.0
    time.sleep = refuse
