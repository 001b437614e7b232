"""Values come back equal and by their types, end with their time, and are refused when they would not come back."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from pydantic import BaseModel

from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from tests.support.toolkit_cache import cache_on


class Product(BaseModel):
    name: str
    since: datetime


class Row(msgspec.Struct):
    name: str
    price: int


VALUES = [
    (int, 5),
    (str, "ä" * 20_000),
    (list[Product], [Product(name="cup", since=datetime(2026, 1, 2, tzinfo=UTC))]),
    (list[Row], [Row("cup", 3), Row("pot", 4)]),
    (Row | None, None),
    (dict[str, list[int]], {"a": [1, 2], "b": []}),
]


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=[str(n) for n in range(len(VALUES))])
async def test_a_value_comes_back_equal(kit: Toolkit, kind: object, value: object) -> None:
    cache = cache_on(kit)
    assert await cache.get("k", type=kind, default="none") == "none"
    assert await cache.set("k", value, ttl=60, type=kind)
    found = await cache.get("k", type=kind, default="none")
    assert found == value
    assert type(found) is type(value)


async def test_a_value_ends_with_its_time_and_a_removed_one_is_gone(kit: Toolkit, clock: FakeClock) -> None:
    cache = cache_on(kit)
    await cache.set("k", 1, ttl=60, jitter=0)
    clock.advance(59.9)
    assert await cache.get("k") == 1
    clock.advance(0.2)
    assert await cache.get("k") is None
    await cache.set_many({"a": 1, "b": [2]}, ttl="1m")
    assert await cache.get_many(["a", "b", "c"]) == {"a": 1, "b": [2]}
    assert await cache.delete("a", "b", "c") == 2
    assert await cache.get_many(["a", "b", "c"]) == {}


KEYS = ["a b", "*", "{a}", "a:b", "%2A", "ä", "\x00", "a" * 10_000, "a" * 9_999 + "b", "\ud800"]


async def test_keys_of_any_text_are_different_keys(kit: Toolkit) -> None:
    cache = cache_on(kit)
    await cache.set_many({key: number for number, key in enumerate(KEYS)}, ttl=60, tags=KEYS)
    assert await cache.get_many(KEYS) == {key: number for number, key in enumerate(KEYS)}
    await cache.delete("*")
    assert len(await cache.get_many(KEYS)) == len(KEYS) - 1
    await cache.invalidate("{a}")
    assert await cache.get_many(KEYS) == {}


async def test_without_tags_too(kit: Toolkit) -> None:
    cache = cache_on(kit)
    values = {key: number for number, key in enumerate(KEYS)}
    await cache.set_many(values, ttl=60)
    assert await cache.get_many(KEYS) == values
    assert await cache.delete("*", "{a}", "a b") == 3
    assert len(await cache.get_many(KEYS)) == len(KEYS) - 3


async def test_a_value_may_hold_what_ends_a_line_of_a_server(kit: Toolkit) -> None:
    cache = cache_on(kit)
    for text in ("\r\nEND\r\n", "EN\r\nHD\r\n", "\x00" * 5000, "\r\n" * 300_000):
        await cache.set("k", text, ttl=60)
        assert await cache.get("k") == text


async def test_bad_input_is_a_clear_error_and_poisons_nothing(kit: Toolkit) -> None:
    cache = cache_on(kit)
    cache.configure(max_value=1000, compress_over=100_000)
    await cache.set("k", 1, ttl=60)
    with pytest.raises(InvalidArguments, match="annotate the type"):
        await cache.set("k", object(), ttl=60, type=int)
    with pytest.raises(InvalidArguments, match="max_value"):
        await cache.set("k", "x" * 2000, ttl=60)
    with pytest.raises(ConfigurationError, match="ttl"):
        await cache.set("k", 2, ttl=-1)
    with pytest.raises(ConfigurationError, match="ttl"):
        await cache.set("k", 2, ttl=0)
    with pytest.raises(InvalidArguments, match="key"):
        await cache.set("", 2, ttl=60)
    with pytest.raises(InvalidArguments, match="tags"):
        await cache.set("k", 2, ttl=60, tags="one")
    assert await cache.get("k") == 1


async def test_a_value_of_another_type_is_as_none_and_is_computed_anew(kit: Toolkit) -> None:
    cache = cache_on(kit)
    await cache.set("k", "no number", ttl=60)
    assert await cache.get("k", type=int, default=0) == 0

    async def seven() -> int:
        return 7

    assert await cache.get_or_set("k", seven, ttl=60) == 7
    assert await cache.get("k", type=int) == 7


async def test_none_is_kept_only_when_that_is_declared(kit: Toolkit) -> None:
    cache, calls = cache_on(kit), [0]

    async def nothing() -> None:
        calls[0] += 1

    for _ in range(3):
        await cache.get_or_set("a", nothing, ttl=60)
    assert calls == [3]
    for _ in range(3):
        await cache.get_or_set("b", nothing, ttl=60, none_ttl=5)
    assert calls == [4]


async def test_a_value_over_the_bound_is_returned_and_not_kept(kit: Toolkit) -> None:
    cache, calls = cache_on(kit), [0]
    cache.configure(max_value=1000, compress_over=100_000)

    async def large() -> str:
        calls[0] += 1
        return "x" * 2000

    assert len(await cache.get_or_set("k", large, ttl=60)) == 2000
    assert len(await cache.get_or_set("k", large, ttl=60)) == 2000
    assert calls == [2]


def test_blocking_code_uses_it(kit_sync: Toolkit) -> None:
    cache = cache_on(kit_sync)
    assert cache.set_sync("k", 1, ttl=60)
    assert cache.get_sync("k") == 1
    assert cache.get_or_set_sync("other", lambda: 5, ttl=60) == 5
    cache.invalidate_sync("tag")
    assert cache.delete_sync("k", "other") == 2
