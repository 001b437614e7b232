"""Values are refreshed before their end, and used after it while that is declared; never once invalidated."""

from __future__ import annotations

import asyncio

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.rule import rng
from tests.support.polling import until
from tests.support.toolkit_cache import Source, cache_on


async def test_a_stale_value_is_used_while_one_caller_computes_a_new_one(kit: Toolkit, clock: FakeClock) -> None:
    cache, source = cache_on(kit), Source("old")

    async def read() -> object:
        return await cache.get_or_set("k", source.compute, ttl=60, jitter=0, stale=30)

    assert await read() == "old"
    clock.advance(61)
    source.value = "new"
    source.hold()
    assert [await read() for _ in range(5)] == ["old"] * 5
    await source.until_began(2)
    source.open()

    async def is_new() -> bool:
        return await read() == "new"

    await until(is_new, "the new value is used")
    assert source.began == 2
    clock.advance(91)
    source.value = "newest"
    assert await read() == "newest", "the time after its end is over"


async def test_a_refresh_that_fails_is_not_repeated_at_each_read(kit: Toolkit, clock: FakeClock) -> None:
    cache, source = cache_on(kit), Source("old")

    async def read() -> object:
        return await cache.get_or_set("k", source.compute, ttl=60, jitter=0, stale=30)

    await read()
    clock.advance(61)
    source.fault = OSError("the source is down")
    assert await read() == "old"
    await source.until_began(2)
    await until(lambda: cache._in_use()._flights.of("k") is None, "it has failed")
    assert [await read() for _ in range(5)] == ["old"] * 5
    assert source.began == 2
    clock.advance(1.1)
    assert await read() == "old"
    await source.until_began(3)


async def test_an_old_value_serves_when_the_source_fails_unless_it_was_invalidated(
    kit: Toolkit, clock: FakeClock
) -> None:
    cache, source = cache_on(kit), Source("old")

    async def read() -> object:
        return await cache.get_or_set("k", source.compute, ttl=60, jitter=0, stale_on_error=30, tags=["t"])

    await read()
    source.fault = OSError("the source is down")
    clock.advance(61)
    assert await read() == "old"
    await cache.invalidate("t")
    with pytest.raises(OSError, match="down"):
        await read()
    source.fault = None
    await read()
    source.fault = OSError("the source is down")
    clock.advance(91)
    with pytest.raises(OSError, match="down"):
        await read()


async def test_a_value_that_takes_long_is_computed_before_its_end(
    kit: Toolkit, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, calls = cache_on(kit), [0]

    async def slow() -> int:
        calls[0] += 1
        clock.advance(2)
        return calls[0]

    async def read(early: float) -> int:
        return await cache.get_or_set("k", slow, ttl=60, jitter=0, early=early)

    draws = [0.5]
    monkeypatch.setattr(rng, "random", lambda: draws[0])
    assert await read(1) == 1
    clock.advance(58.5)  # 1.5 s are left: 2 s * -ln(0.5) = 1.4 s
    assert await read(1) == 1
    await asyncio.sleep(0)
    assert calls == [1]
    clock.advance(0.2)
    assert await read(0) == 1
    assert calls == [1]
    assert await read(1) == 1, "the caller does not wait"
    await until(lambda: cache._in_use()._flights.of("k") is None, "computed in the background")
    assert calls == [2]
    assert await read(1) == 2
