"""Cached functions: their keys, their types, plain and async, and what is refused when they are declared."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from outlast import ConfigurationError, InvalidArguments, Outlast, Settings
from outlast.core.errors import WrongThread
from outlast.testing.clock import FakeClock

shop = Outlast("shop", settings=Settings(url="memory:"))
calls: list[Any] = []
user: ContextVar[str] = ContextVar("user", default="")


class Product(BaseModel):
    id: int
    name: str = "cup"


@shop.cache.cached(ttl="5m", key="product:{id}", tags=["products", "product:{id}"])
async def product(id: int, *, lang: str = "en") -> Product:
    calls.append(id)
    return Product(id=id)


@shop.cache.cached(ttl="5m", key="plain:{id}")
def plain(id: int) -> Product | None:
    calls.append((id, user.get()))
    return Product(id=id)


@shop.cache.cached(ttl="5m")
async def total(ids: list[int], factor: int = 1) -> int:
    calls.append(ids)
    return sum(ids) * factor


@pytest.fixture(autouse=True)
def fresh() -> Any:
    calls.clear()
    with shop.testing():
        yield


async def test_an_async_function_is_called_once_for_its_key() -> None:
    assert await product(1) == await product(id=1) == await product(1, lang="de") == Product(id=1)
    assert await product(2) == Product(id=2)
    assert calls == [1, 2]
    assert product.key(1) == "product:1"
    assert product.__name__ == "product"  # type: ignore[attr-defined]
    assert await product.delete(1) == 1
    await product(1)
    await shop.cache.invalidate("product:1")
    await product(1)
    await product(2)
    assert calls == [1, 2, 1, 1]
    assert await shop.cache.get("product:2", type=Product) == Product(id=2)


def test_a_plain_function_reads_from_its_thread_in_the_context_of_its_caller() -> None:
    user.set("ann")
    assert plain(1) == plain(id=1) == Product(id=1)
    assert calls == [(1, "ann")]
    assert plain.delete(1) == 1
    plain(1)
    assert calls == [(1, "ann")] * 2


@shop.cache.cached(ttl="5m", key="inner:{id}")
def inner(id: int) -> int:
    return threading.get_ident()


@shop.cache.cached(ttl="5m", key="outer:{id}")
def outer(id: int) -> list[int]:
    return [threading.get_ident(), inner(id)]


def test_plain_functions_compute_in_the_thread_of_their_caller_however_many_call_each_other() -> None:
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda n: (threading.get_ident(), outer(n)), range(100)))
    assert all(ids == [own, own] for own, ids in found)


def test_an_error_of_a_plain_function_reaches_its_caller() -> None:
    @shop.cache.cached(ttl="5m", key="raises")
    def raises() -> int:
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        raises()


def test_a_plain_function_is_refreshed_when_its_caller_is_gone() -> None:
    refreshed = threading.Event()

    @shop.cache.cached(ttl=60, key="stale", jitter=0, stale=60)
    def stale() -> str:
        calls.append("stale")
        if len(calls) > 1:
            refreshed.set()
        return threading.current_thread().name

    assert stale() == threading.current_thread().name
    clock = shop._toolkit().clock
    assert isinstance(clock, FakeClock)
    clock.advance(61)
    assert stale() == threading.current_thread().name
    assert refreshed.wait(30)


async def test_a_plain_function_on_an_event_loop_is_refused_before_it_blocks() -> None:
    with pytest.raises(WrongThread):
        plain(3)
    assert await asyncio.to_thread(plain, 3) == Product(id=3)


async def test_without_a_key_all_arguments_make_it() -> None:
    assert await total([1, 2]) == await total(ids=[1, 2], factor=1) == 3
    assert await total([1, 2], 2) == 6
    assert calls == [[1, 2], [1, 2]]
    with pytest.raises(InvalidArguments, match="give key="):
        await total([object()])  # type: ignore[list-item]


async def test_no_two_calls_have_one_key_of_all_arguments() -> None:
    @shop.cache.cached(ttl=60)
    async def any_of(value: Any, other: Any = 1) -> list[Any]:
        return []

    nan, inf = float("nan"), float("inf")
    values = [
        None,
        "None",
        "null",
        nan,
        inf,
        -inf,
        b"abc",
        "YWJj",
        {"1": "a"},
        1,
        1.0,
        True,
        "1",
        10**30,
        "",
        b"",
    ]
    keys = [any_of.key(value) for value in values] + [any_of.key([value]) for value in values]
    keys += [any_of.key(value, 10**30) for value in (None, nan, inf, "a", b"a")]
    assert len(set(keys)) == len(keys)
    assert any_of.key({"b": 1, "a": "x"}) == any_of.key({"a": "x", "b": 1})
    endless: list[Any] = []
    endless.append(endless)
    for value in ("\ud800", endless, object(), {1: "a"}):
        with pytest.raises(InvalidArguments, match="give key="):
            any_of.key(value)


class Size(Enum):
    SMALL = "s"


async def test_two_calls_never_get_one_key() -> None:
    @shop.cache.cached(ttl=60, key="{a}:{b}")
    async def pair(a: Any, b: Any) -> list[Any]:
        return []

    calls = [("a:b", "c"), ("a", "b:c"), ("a%3Ab", "c"), ("", "a:b:c"), (Size.SMALL, 1)]
    calls += [("a", None), ("a", "None"), ("a", "%None"), (None, "None"), ("", None)]
    assert len({pair.key(a, b) for a, b in calls}) == len(calls)
    assert pair.key(UUID(int=1), None) == f"{UUID(int=1)}:%None"
    with pytest.raises(InvalidArguments, match="name parameters that are text"):
        pair.key(object(), 1)
    with pytest.raises(TypeError, match="'b' is missing"):
        pair.key(1)  # type: ignore[call-arg]


async def test_a_result_of_another_type_than_declared_is_an_error_and_is_not_kept() -> None:
    @shop.cache.cached(ttl=60, key="wrong")
    async def wrong() -> int:
        return "text"  # type: ignore[return-value]

    with pytest.raises(InvalidArguments, match="annotate the type"):
        await wrong()
    assert await shop.cache.get("wrong") is None


def some(a: int) -> int:
    return a


def starred(*args: int) -> int:
    return 1


def generator(a: int) -> Any:
    yield a


REFUSED: list[tuple[dict[str, Any], Callable[..., Any], str]] = [
    ({"ttl": -1}, some, "ttl"),
    ({"ttl": "5 minutes"}, some, "ttl"),
    ({"ttl": 0}, some, "ttl"),
    ({"ttl": 60, "jitter": 1}, some, "jitter"),
    ({"ttl": 60, "early": -1}, some, "early"),
    ({"ttl": 60, "stale": -1}, some, "stale"),
    ({"ttl": 60, "key": "{b}"}, some, "is no parameter"),
    ({"ttl": 60, "key": "{a"}, some, "no template|not a template"),
    ({"ttl": 60, "key": ""}, some, "key"),
    ({"ttl": 60, "key": "{args}"}, starred, "have no names"),
    ({"ttl": 60, "tags": "product:{a}"}, some, "tags='product:{a}': give a list of texts"),
    ({"ttl": 60, "tags": ["a"] * 65}, some, "tags: 65 are given: give at most 64"),
    ({"ttl": 60, "tags": ["{b}"]}, some, "is no parameter"),
    ({"ttl": 60, "tags": 7}, some, "tags=7"),
    ({"ttl": 60}, generator, "generator"),
]


@pytest.mark.parametrize(("options", "function", "match"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_what_cannot_work_is_refused_when_it_is_declared(
    options: dict[str, Any], function: Callable[..., Any], match: str
) -> None:
    with pytest.raises(ConfigurationError, match=match):
        shop.cache.cached(**options)(function)


def test_bounds_are_set_before_the_first_use() -> None:
    other = Outlast("other", settings=Settings(url="memory:"))
    other.cache.configure(max_value=10, concurrency=2)
    with pytest.raises(ConfigurationError, match="max_bytes"):
        other.cache.configure(max_bytes=5)
    with pytest.raises(ConfigurationError, match="concurrency"):
        other.cache.configure(concurrency=0)
    other.cache.get_sync("k")
    with pytest.raises(ConfigurationError, match="before the first use"):
        other.cache.configure(max_value=20)
