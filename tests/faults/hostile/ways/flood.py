"""Handlers that want too much: memory, descriptors, processes, output, jobs."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from outlast import Context
from tests.faults.hostile.declare import app, fails, way


@fails("MemoryError")
def raises_for_want_of_memory() -> None:
    raise MemoryError


@fails("MemoryError")
def allocates_more_than_it_may() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(1.5e9), before[1]))
    try:
        bytearray(2_000_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@fails("MemoryError", mode="process")
def allocates_more_than_a_child_process_may() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (int(1.5e9), resource.getrlimit(resource.RLIMIT_AS)[1]))
    bytearray(2_000_000_000)


@fails("RecursionError")
def recurses() -> None:
    recurses()


@way()
def opens_all_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    taken = []
    with suppress(OSError):
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    for each in taken:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@way()
def forks_and_forks() -> None:
    for _ in range(3):
        if os.fork() == 0:
            for _ in range(2):
                os.fork()
            os._exit(0)


@way()
async def leaves_programs_behind() -> None:
    for new_session in (True, False):
        await asyncio.create_subprocess_exec("sleep", "5", start_new_session=new_session)
        subprocess.Popen(["sleep", "5"], start_new_session=new_session)


@way()
def leaves_a_group_with_open_descriptors() -> None:
    subprocess.Popen(["sleep", "5"], close_fds=False, process_group=0)


@way()
def starts_many_threads() -> None:
    done = threading.Event()
    for _ in range(300):
        threading.Thread(target=done.wait, args=(1,)).start()


@way()
def says_very_much() -> None:
    sys.stderr.write("x" * 10_000_000 + "\n")
    sys.stderr.flush()


@way(mode="process")
def says_very_much_in_a_child_process() -> None:
    print("x" * 10_000_000, file=sys.stderr)
    app_logger = __import__("logging").getLogger("hostile")
    for _ in range(100):
        app_logger.warning("y" * 100_000)


@fails("GiveUp", "gave-up")
def returns_too_much() -> str:
    return "x" * 3_000_000


@fails("GiveUp", "gave-up", mode="process")
def returns_too_much_from_a_child_process() -> str:
    return "x" * 3_000_000


@app.job(queue="echo")
async def echo(number: int) -> None: ...


@way()
async def sends_in_a_loop(ctx: Context) -> None:
    for number in range(500):
        ctx.enqueue(echo, number)


@way(mode="thread")
def tells_progress_all_the_time(ctx: Context) -> None:
    for number in range(20_000):
        ctx.progress(number)


@way()
async def tells_progress_from_threads(ctx: Context) -> None:
    await asyncio.gather(*(asyncio.to_thread(ctx.progress, number) for number in range(50)), return_exceptions=True)


@way()
async def starts_very_many_tasks() -> Any:
    for _ in range(20_000):
        asyncio.ensure_future(asyncio.sleep(1))  # noqa: RUF006 - that is the fault
