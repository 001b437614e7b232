"""Handlers that end, or try to end, the worker that runs them; each with a neighbour that has to succeed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from outlast import Constant, Job, Outlast, Retry
from tests.support.ledger import Ledger

__all__ = ["JOBS", "NEIGHBOURS", "app"]

app = Outlast("hostile")
Leave = Callable[[], Any]
NEIGHBOURS = 2
ONCE = Retry(attempts=1)
AGAIN = Retry(attempts=3, backoff=Constant(0))


def ledger() -> Ledger:
    return Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))


JOBS: dict[str, tuple[str, Job[[], None], Job[[int], None]]] = {}
"""By way: "poison", "alone", "succeeded" or the type of its failure; the culprit; its neighbour.

alone: it ends the worker, but not the child process in which it runs alone then.
"""


def way(
    end: str, *, mode: Literal["async", "thread", "process"] = "async", retry: Retry = AGAIN
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Declare a handler that leaves in this way, in a queue (and so with a worker) of its own."""

    def declare(leave: Leave) -> Leave:
        name = leave.__name__

        async def on_loop() -> None:
            await began(name)
            if isinstance(value := leave(), Awaitable):
                await value

        def plain() -> Any:
            ledger().write("start", name)
            return leave()

        async def beside(number: int) -> None:
            """Run beside the culprit, with a single attempt."""
            ledger().write("start", f"beside-{number}")
            while name not in ledger().names("start"):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)

        if mode == "process":  # the child process finds it by its name
            culprit = app.job(queue=name, kind=name, retry=retry, isolate="process")(leave)
        else:
            culprit = app.job(queue=name, kind=name, retry=retry)(on_loop if mode == "async" else plain)
        JOBS[name] = (
            end,
            culprit,
            app.job(queue=name, kind=f"beside_{name}", retry=Retry(attempts=1))(beside),
        )
        return leave

    return declare


async def began(name: str) -> None:
    """Tell that the culprit has begun, when its neighbours have begun too."""
    while len(ledger().names("start").keys() - {name}) < NEIGHBOURS:
        await asyncio.sleep(0.01)
    ledger().write("start", name)


# What ends the process


@way("poison")
def exits_with_0() -> None:
    os._exit(0)


@way("poison")
def exits_with_the_verdict_of_a_worker() -> None:
    os._exit(3)


@way("poison", mode="thread")
def exits_in_a_thread() -> None:
    os._exit(0)


@way("poison")
def exits_after_it_has_returned() -> None:
    asyncio.get_running_loop().call_soon(os._exit, 0)


@way("poison")
def cancels_all_tasks() -> None:
    for task in asyncio.all_tasks():
        task.cancel()


@way("poison")
async def cancels_all_other_tasks() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(60)


@way("poison")
async def closes_all_descriptors() -> None:
    os.closerange(3, 4096)
    await asyncio.sleep(60)


@way("poison", mode="thread")
def closes_all_descriptors_in_a_thread() -> None:
    os.closerange(3, 4096)
    threading.Event().wait(1)


@way("alone")
async def breaks_the_tasks_of_the_loop() -> None:
    def no_task(loop: asyncio.AbstractEventLoop, work: Any, **_: Any) -> Any:
        work.close()
        raise MemoryError

    asyncio.get_running_loop().set_task_factory(no_task)
    await asyncio.sleep(5)


# What is survived


@way("succeeded")
async def stops_the_loop() -> None:
    for _ in range(3):
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)


@way("succeeded")
async def stops_the_loop_from_a_thread() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(loop.call_soon_threadsafe, loop.stop)


@way("succeeded")
async def leaves_a_task_that_exits() -> None:
    async def part() -> None:
        sys.exit(2)

    asyncio.create_task(part(), name="left-alone")  # noqa: RUF006 - that is the fault
    await asyncio.sleep(0.05)


@way("succeeded")
async def lets_a_callback_exit() -> None:
    asyncio.get_running_loop().call_soon(sys.exit, 2)
    asyncio.get_running_loop().call_later(0.01, sys.exit, 2)
    await asyncio.sleep(0.05)


@way("succeeded")
async def closes_the_app() -> None:
    await app.close()
    async with app:
        await asyncio.sleep(0)


@way("succeeded")
async def ends_the_generators_of_the_loop() -> None:
    await asyncio.get_running_loop().shutdown_asyncgens()


@way("succeeded")
async def sends_itself_the_signals_of_a_stop() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)


@way("succeeded")
async def sends_its_group_the_signals_of_a_stop() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.killpg(0, number)
        await asyncio.sleep(0.01)


@way("succeeded")
async def forks_a_program_that_returns() -> None:
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, b"x")
        return  # into the code of the worker
    assert await asyncio.to_thread(os.read, read, 1) == b"x"
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0


@way("succeeded")
async def forks_a_program_that_exits() -> None:
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@way("succeeded")
async def forks_in_a_task_that_returns() -> None:
    async def part() -> int:
        return os.fork()

    child = await asyncio.create_task(part())
    if child:
        await asyncio.to_thread(os.waitpid, child, 0)


@way("succeeded", mode="thread")
def forks_in_a_thread() -> None:
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@way("succeeded", mode="thread")
def uses_a_pool() -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]


@way("succeeded")
async def terminates_its_helper() -> None:
    helper = multiprocessing.get_context("fork").Process(target=threading.Event().wait, args=(60,), daemon=True)
    helper.start()
    helper.terminate()
    await asyncio.to_thread(helper.join)
    assert helper.exitcode == -signal.SIGTERM


@way("succeeded", mode="process")
async def stops_the_loop_of_a_child_process() -> None:
    ledger().write("start", "stops_the_loop_of_a_child_process")
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)


@way("succeeded", mode="process")
async def lets_a_task_of_a_child_process_exit() -> None:
    ledger().write("start", "lets_a_task_of_a_child_process_exit")
    await leaves_a_task_that_exits()


@way("succeeded", mode="process")
async def forks_in_a_child_process() -> None:
    ledger().write("start", "forks_in_a_child_process")
    await forks_a_program_that_returns()


# What fails the job that did it


async def _exits(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


@way("SystemExit", retry=ONCE)
async def gathers_a_task_that_exits() -> None:
    await asyncio.gather(_exits(SystemExit(2)), asyncio.sleep(60))


@way("KeyboardInterrupt", retry=ONCE)
async def awaits_a_task_that_is_interrupted() -> None:
    await asyncio.create_task(_exits(KeyboardInterrupt()))


@way("SystemExit", retry=ONCE)
async def groups_a_task_that_exits() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_exits(SystemExit(2)))
        group.create_task(asyncio.sleep(60))


@way("CancelledError", retry=ONCE)
async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@way("RuntimeError", retry=ONCE)
def closes_the_loop() -> None:
    asyncio.get_running_loop().close()
