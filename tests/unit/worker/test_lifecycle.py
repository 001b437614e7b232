"""Start and stop hooks: their order, their bounds, and what their errors do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from outlast import ConfigurationError
from outlast.worker.lifecycle import HookFailed, start, stop
from tests.support.working import new_app


def hooks(said: list[str]) -> list[Callable[[], Any]]:
    async def second() -> None:
        await asyncio.sleep(0)
        said.append("second")

    return [partial(said.append, "first"), second]


async def test_hooks_start_in_order_and_stop_in_reverse() -> None:
    said: list[str] = []
    assert await start(hooks(said), asyncio.Event())
    await stop(hooks(said), 5, asyncio.Event())
    assert said == ["first", "second", "second", "first"]


@pytest.mark.parametrize("error", [ValueError("no database"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_start_hook_that_raises_ends_the_start(
    error: BaseException, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []

    def plain() -> None:
        raise error

    async def awaited() -> None:
        raise error

    hook = awaited if is_async else plain
    with pytest.raises(HookFailed, match=f"the on_start hook .*{hook.__name__} failed: .*{type(error).__name__}"):
        await start([hook, partial(said.append, "later")], asyncio.Event())
    assert said == []
    (line,) = caplog.records
    assert "the worker does not start" in line.getMessage()
    assert line.exc_info


async def test_a_stop_ends_a_start_hook_that_hangs() -> None:
    cleaned, stopped = asyncio.Event(), asyncio.Event()

    async def hangs() -> None:
        stopped.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    assert not await start([hangs], stopped)
    assert cleaned.is_set()


async def test_stop_hooks_that_fail_or_hang_do_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []
    hurry = asyncio.Event()

    async def hangs() -> None:
        hurry.set()
        await asyncio.Event().wait()

    def fails() -> None:
        raise SystemExit

    with caplog.at_level(logging.ERROR):
        await stop([partial(said.append, "first"), hangs, fails], 60, hurry)
    assert said == ["first"] or len(caplog.records) == 3
    texts = [each.getMessage() for each in caplog.records]
    assert "fails failed: RuntimeError: it raised SystemExit" in texts[0]
    assert "hangs failed: it had not ended within the grace period" in texts[1]


def test_what_cannot_be_a_hook_is_refused() -> None:
    app = new_app("memory:")

    def needs(argument: int) -> None: ...

    def yields() -> Any:
        yield

    async def yields_too() -> Any:
        yield

    for decorate in (app.on_start, app.on_stop):
        wrong: Any
        for wrong in (needs, yields, yields_too, 3):
            with pytest.raises(ConfigurationError, match=r"on_st(art|op)\("):
                decorate(wrong)
    assert app.on_start(print) is print


async def test_a_test_runs_hooks_around_its_jobs() -> None:
    app, said = new_app("memory:"), list[str]()

    @app.on_start
    async def begin() -> None:
        said.append("begin")

    @app.on_stop
    def end() -> None:
        said.append("end")

    @app.job
    async def work() -> None:
        said.append("work")

    async with app.testing() as t:
        await work.enqueue()
        assert said == []
        await t.drain()
        await work.enqueue()
        await t.drain()
    assert said == ["begin", "work", "work", "end"]
    with app.testing() as t:
        await work.enqueue()
        with pytest.raises(ConfigurationError, match="write `async with shop"):
            await t.drain()


def test_a_test_that_is_not_async_runs_hooks_too() -> None:
    app, said = new_app("memory:"), list[str]()

    @app.on_start
    async def begin() -> None:
        said.append("begin")

    @app.on_stop
    async def end() -> None:
        said.append("end")

    @app.job
    async def work() -> None:
        said.append("work")

    with app.testing() as t:
        work.enqueue_sync()
        t.drain_sync()
    assert said == ["begin", "work", "end"]
