"""Handlers that end the process that runs them: poison after exactly three runs.

Their sleeps are what they do to the worker, or the time in which it has to end them; no test waits by one.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import threading

from tests.faults.hostile.declare import poison, way


@poison()
def exits_with_0() -> None:
    os._exit(0)


@poison()
def exits_with_the_verdict_of_a_worker() -> None:
    os._exit(3)


@poison(mode="thread")
def exits_in_a_thread() -> None:
    os._exit(0)


@poison()
def exits_after_it_has_returned() -> None:
    asyncio.get_running_loop().call_soon(os._exit, 0)


@poison()
def cancels_all_tasks() -> None:
    for task in asyncio.all_tasks():
        task.cancel()


@poison()
async def cancels_all_other_tasks() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(60)


@poison()
async def closes_all_descriptors() -> None:
    os.closerange(3, 4096)
    await asyncio.sleep(60)


@poison(mode="thread")
def closes_all_descriptors_in_a_thread() -> None:
    os.closerange(3, 4096)
    threading.Event().wait(1)


@poison()
def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@poison()
async def kills_itself_in_a_while() -> None:
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGKILL)
    await asyncio.sleep(60)


@poison()
def aborts() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    os.abort()


@poison(mode="thread")
def reads_memory_that_is_not_there() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    ctypes.string_at(0)


@poison()
async def sets_an_alarm() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    await asyncio.sleep(60)


@poison()
def uses_up_its_processor_time() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1, resource.RLIM_INFINITY))
    while True:
        pass


@poison()
async def ends_when_it_is_collected() -> None:
    class Last:
        def __del__(self) -> None:
            os._exit(0)

    Last()
    await asyncio.sleep(60)


@poison()
def execs_another_program() -> None:
    os.execv("/bin/true", ["true"])


@poison(mode="process")
async def kills_the_parent_of_its_process() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    await asyncio.sleep(60)


@way("crash", error="Crashed", runs=3, mode="process")
def exits_in_a_child_process() -> None:
    os._exit(0)


@way("crash", error="Crashed", runs=3, mode="process")
async def kills_a_child_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
