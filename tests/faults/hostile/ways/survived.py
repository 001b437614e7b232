"""Handlers that do to their worker what it survives."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading

from tests.faults.hostile.declare import app, way


@way()
async def stops_the_loop() -> None:
    for _ in range(3):
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)


@way()
async def stops_the_loop_from_a_thread() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(loop.call_soon_threadsafe, loop.stop)


@way()
async def leaves_a_task_that_exits() -> None:
    async def part() -> None:
        sys.exit(2)

    asyncio.create_task(part(), name="left-alone")  # noqa: RUF006 - that is the fault
    await asyncio.sleep(0.05)


@way()
async def lets_a_callback_exit() -> None:
    asyncio.get_running_loop().call_soon(sys.exit, 2)
    asyncio.get_running_loop().call_later(0.01, sys.exit, 2)
    await asyncio.sleep(0.05)


@way(alone=True)
async def closes_the_app() -> None:
    await app.close()
    async with app:
        await asyncio.sleep(0)


@way(alone=True)
async def ends_the_generators_of_the_loop() -> None:
    await asyncio.get_running_loop().shutdown_asyncgens()


@way()
async def sends_itself_the_signals_of_a_stop() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)


@way(alone=True)  # else the helpers of the others get them too
async def sends_its_group_the_signals_of_a_stop() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.killpg(0, number)
        await asyncio.sleep(0.01)


@way()
async def forks_a_program_that_returns() -> None:
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, b"x")
        return  # into the code of the worker
    assert await asyncio.to_thread(os.read, read, 1) == b"x"
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0


@way()
async def forks_a_program_that_exits() -> None:
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@way()
async def forks_in_a_task_that_returns() -> None:
    async def part() -> int:
        return os.fork()

    child = await asyncio.create_task(part())
    if child:
        await asyncio.to_thread(os.waitpid, child, 0)


@way(mode="thread")
def forks_in_a_thread() -> None:
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@way(mode="thread")
def uses_a_pool() -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]


@way()
async def terminates_its_helper() -> None:
    helper = multiprocessing.get_context("fork").Process(target=threading.Event().wait, args=(60,), daemon=True)
    helper.start()
    helper.terminate()
    await asyncio.to_thread(helper.join)
    assert helper.exitcode == -signal.SIGTERM


@way(mode="process")
async def stops_the_loop_of_a_child_process() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)


@way(mode="process")
async def lets_a_task_of_a_child_process_exit() -> None:
    await leaves_a_task_that_exits()


@way(mode="process")
async def forks_in_a_child_process() -> None:
    await forks_a_program_that_returns()
