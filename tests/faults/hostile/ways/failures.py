"""Handlers that raise, or return, what must fail them and nothing else.

Their sleeps are what they do to the worker, or the time in which it has to end them; no test waits by one.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from tests.faults.hostile.declare import fails


async def _exits(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


@fails("SystemExit")
async def gathers_a_task_that_exits() -> None:
    await asyncio.gather(_exits(SystemExit(2)), asyncio.sleep(60))


@fails("KeyboardInterrupt")
async def awaits_a_task_that_is_interrupted() -> None:
    await asyncio.create_task(_exits(KeyboardInterrupt()))


@fails("SystemExit")
async def groups_a_task_that_exits() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_exits(SystemExit(2)))
        group.create_task(asyncio.sleep(60))


@fails("CancelledError")
async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@fails("RuntimeError")
def closes_the_loop() -> None:
    asyncio.get_running_loop().close()


@fails("BaseException")
def raises_the_base() -> None:
    raise BaseException("x")


@fails("GeneratorExit")
def raises_the_end_of_a_generator() -> None:
    raise GeneratorExit


@fails("KeyboardInterrupt", mode="thread")
def interrupts_a_thread() -> None:
    raise KeyboardInterrupt


@fails("SystemExit", mode="thread")
def exits_from_a_thread() -> None:
    sys.exit("x")


@fails("SystemExit", mode="process")
def exits_from_a_child_process() -> None:
    sys.exit(0)


@fails("StopAsyncIteration")
async def stops_an_iteration() -> None:
    raise StopAsyncIteration


def _raise(*_: Any) -> Any:
    raise KeyboardInterrupt


@fails("Mute")
def raises_what_has_no_text() -> None:
    raise type("Mute", (Exception,), {"__str__": _raise, "__repr__": _raise})


@fails("Faceless")
def raises_what_has_no_class() -> None:
    raise type("Faceless", (Exception,), {"__class__": property(_raise)})


@fails("ValueError")
def raises_very_much() -> None:
    raise ValueError("x" * 20_000_000)


@fails("RuntimeError")
def raises_a_ring_of_causes() -> None:
    first, second = RuntimeError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


@fails("InvalidArguments", "gave-up")
def returns_no_number() -> Any:
    return float("nan")


@fails("InvalidArguments", "gave-up")
def returns_a_function() -> Any:
    return _raise


@fails("InvalidArguments", "gave-up")
def returns_what_contains_itself() -> Any:
    ring: list[Any] = []
    ring.append(ring)
    return ring


@fails("InvalidArguments", "gave-up", mode="process")
def returns_a_function_from_a_child_process() -> Any:
    return _raise


@fails("InvalidArguments", "gave-up")
def returns_half_a_character() -> Any:
    return "\ud800"
