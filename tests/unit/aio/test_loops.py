"""A loop that no task of it can end, on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from outlast.aio.loops import apart, complete

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda work: complete(runner.get_loop(), work)


async def exits(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


ERRORS = [SystemExit, KeyboardInterrupt]


@pytest.mark.parametrize("kind", ERRORS)
def test_who_awaits_the_task_gets_its_error_and_all_others_go_on(run: Run, kind: type[BaseException]) -> None:
    error = kind(3)

    async def work() -> str:
        beside = asyncio.create_task(asyncio.sleep(0.05, "untouched"))
        with pytest.raises(kind) as raised:
            await asyncio.create_task(exits(error))
        assert raised.value is error
        with pytest.raises(kind):
            await asyncio.gather(exits(error), asyncio.sleep(0))
        return await beside

    assert run(work()) == "untouched"


@pytest.mark.parametrize("kind", ERRORS)
def test_a_task_that_is_not_awaited_is_logged_with_its_name(
    run: Run, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    error = kind(3)

    async def work() -> str:
        task = asyncio.create_task(exits(error), name="left-alone")
        while not task.done():
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)  # uvloop raises at the end of a round
        return "done"

    assert run(work()) == "done"
    told = [each for each in caplog.records if each.name == "outlast.loop"]
    assert [each.getMessage() for each in told] == [
        f"task 'left-alone' raised {type(error).__name__}, and the event loop goes on"
    ]
    assert all(each.exc_info and each.exc_info[1] is error for each in told)


def test_a_callback_that_exits_loses_no_other_callback(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> list[int]:
        loop, called = asyncio.get_running_loop(), list[int]()
        for number in range(6):
            loop.call_soon(called.append, number)
            loop.call_soon(sys.exit, number)
        loop.call_later(0.001, sys.exit)
        await asyncio.sleep(0.01)
        return called

    assert run(work()) == list(range(6))
    assert "a task or a callback raised SystemExit" in caplog.text  # uvloop tells the last of one round


def test_a_stop_of_the_loop_does_nothing_and_is_told_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> str:
        loop = asyncio.get_running_loop()
        for _ in range(5):
            loop.stop()
            await asyncio.sleep(0)
        await loop.run_in_executor(None, loop.call_soon_threadsafe, loop.stop)
        await asyncio.sleep(0.001)
        return "done"

    assert run(work()) == "done"
    assert caplog.text.count("loop.stop() was called") == 1


@pytest.mark.parametrize("kind", [*ERRORS, ValueError, asyncio.CancelledError])
def test_an_error_of_the_work_itself_is_raised_and_the_loop_can_be_closed(run: Run, kind: type[BaseException]) -> None:
    async def untouched() -> str:
        return "the loop runs"

    with pytest.raises(kind):
        run(exits(kind(3)))
    assert run(untouched()) == "the loop runs"


def test_a_log_that_raises_does_not_end_it(run: Run) -> None:
    class Hostile(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit

    async def work() -> str:
        asyncio.get_running_loop().call_soon(sys.exit)
        await asyncio.sleep(0.001)
        return "done"

    handler = Hostile()
    logging.getLogger("outlast.loop").addHandler(handler)
    try:
        assert run(work()) == "done"
    finally:
        logging.getLogger("outlast.loop").removeHandler(handler)


class Torn(BaseException):
    """The process would end here."""


def test_foreign_code_that_cancels_all_tasks_tears_the_one_around_it(run: Run) -> None:
    def torn(why: str) -> Any:
        raise Torn(why)

    async def cancels() -> None:
        for task in asyncio.all_tasks():
            task.cancel()

    async def cancels_itself() -> None:
        for task in [asyncio.current_task()]:
            assert task is not None
            task.cancel()
        await asyncio.sleep(0)

    async def returns() -> str:
        return "its result"

    with pytest.raises(Torn):
        run(apart(cancels(), torn))
    with pytest.raises(asyncio.CancelledError):
        run(apart(cancels_itself(), torn))
    with pytest.raises(SystemExit):
        run(apart(exits(SystemExit(1)), torn))
    assert run(apart(returns(), torn)) == "its result"
