"""A coroutine that nothing would await is refused wherever a plain value is expected."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial, update_wrapper
from types import MethodType
from typing import Annotated, Any

import pytest

from outlast import ConfigurationError, Depends, InvalidArguments, JobFailed, Retry, injected
from outlast.core.calls import is_async, unawaited
from tests.support.working import new_app


async def coroutine_function(*_: Any, **__: Any) -> str:
    return "made"


class AsyncCall:
    async def __call__(self, *_: Any, **__: Any) -> str:
        return "made"


ASYNC: list[Callable[..., Any]] = [
    coroutine_function,
    partial(coroutine_function, 1),
    AsyncCall(),
    AsyncCall().__call__,
    update_wrapper(partial(coroutine_function), coroutine_function),
]


def returns_one(*arguments: Any, **named: Any) -> Any:
    return coroutine_function()


def test_async_callables_are_told_from_plain_ones() -> None:
    assert all(map(is_async, [*ASYNC, partial(AsyncCall())]))
    plain = update_wrapper(lambda: coroutine_function(), coroutine_function)
    assert not any(map(is_async, [returns_one, plain, AsyncCall, print, partial(print), object()]))
    assert is_async(MethodType(partial(coroutine_function), 1))
    assert unawaited(coroutine_function())
    assert not unawaited(None)


@pytest.mark.parametrize("wrong", ASYNC)
def test_an_async_callable_is_refused_when_it_is_declared(wrong: Callable[..., Any]) -> None:
    app = new_app("memory:")
    with pytest.raises(ConfigurationError, match=r"key=.*plain function"):
        app.job(kind="a", key=wrong)(lambda: None)
    with pytest.raises(ConfigurationError, match=r"unique=.*plain function"):
        app.job(kind="b", unique=wrong)(lambda: None)
    with pytest.raises(ConfigurationError, match="not async"):
        app.observe(wrong)
    with pytest.raises(ConfigurationError, match="give a plain function"):
        app.job(kind="c", version=2, upgrades={1: wrong})(lambda: None)


async def test_a_coroutine_of_a_plain_callable_is_refused_when_it_is_made(caplog: pytest.LogCaptureFixture) -> None:
    app = new_app("memory:")

    @app.job(kind="keyed", key=returns_one)
    async def keyed(n: int) -> None: ...

    @app.job(kind="once", unique=returns_one)
    async def once(n: int) -> None: ...

    @app.job(kind="upgraded", version=2, upgrades={1: returns_one})
    async def upgraded(n: int) -> None: ...

    for job in (keyed, once):
        with pytest.raises(ConfigurationError, match="give a plain function that returns text or None"):
            job.message(1)
    arguments = app.composer.arguments["upgraded"]
    with pytest.raises(InvalidArguments, match="returned a coroutine: return the arguments as a dict"):
        arguments.load(upgraded.message(1).args)
    app.observe(returns_one)
    with caplog.at_level(logging.ERROR, "outlast"):
        async with app.testing():
            await app.job(kind="plain")(lambda: None).enqueue()
    assert "it returned a coroutine, which is not awaited" in str(caplog.records[0].exc_info)


@pytest.mark.parametrize("is_async_handler", [True, False])
async def test_a_dependency_that_returns_a_coroutine_fails_the_run(is_async_handler: bool) -> None:
    app = new_app("memory:")

    async def on_loop(*, db: Annotated[object, Depends(returns_one)] = injected) -> None: ...

    def in_thread(*, db: Annotated[object, Depends(returns_one)] = injected) -> None: ...

    job = app.job(retry=Retry(attempts=1))(on_loop if is_async_handler else in_thread)
    async with app.testing() as t:
        handle = await job.enqueue()
        await t.drain()
        with pytest.raises(JobFailed, match="returned a coroutine, which is not awaited"):
            await handle.result()


async def test_a_future_is_awaitable_too_and_stays() -> None:
    future = asyncio.get_running_loop().create_future()
    assert unawaited(future)
    assert not future.done()
