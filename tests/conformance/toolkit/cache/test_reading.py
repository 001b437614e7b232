"""One computation for all who miss; what an invalidation made old is not kept, and not given to later callers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import structs

from outlast import deadline
from outlast.core.errors import DeadlinePassed, OutlastError
from outlast.resilience.deadlines import ends_at
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.access import CacheAccess
from outlast.toolkit.cache.store import Begun
from tests.support.polling import until
from tests.support.toolkit_cache import Source, cache_on


async def test_many_who_miss_share_one_computation(kit: Toolkit, other_kit: Toolkit) -> None:
    one, two, source = cache_on(kit), cache_on(other_kit), Source([1, 2], held=True)
    reads = [
        asyncio.ensure_future(cache.get_or_set("k", source.compute, ttl=60, tags=["t"]))
        for cache in (one, two)
        for _ in range(50)
    ]
    await source.until_began(1)
    more = [asyncio.ensure_future(one.get_or_set("k", source.compute, ttl=60, tags=["t"])) for _ in range(50)]
    await asyncio.sleep(0)
    source.open()
    values = await asyncio.gather(*reads, *more)
    assert source.began == 1
    assert values == [[1, 2]] * 150
    values[0].append(3)  # type: ignore[attr-defined]
    assert values[1:] == [[1, 2]] * 149, "each caller has a value of its own"


async def test_a_caller_that_is_cancelled_leaves_the_computation_to_the_others(kit: Toolkit) -> None:
    cache, source = cache_on(kit), Source(5, held=True)
    first = asyncio.ensure_future(cache.get_or_set("k", source.compute, ttl=60))
    await source.until_began(1)
    others = [asyncio.ensure_future(cache.get_or_set("k", source.compute, ttl=60)) for _ in range(10)]
    for _ in range(20):
        await asyncio.sleep(0)
    await until(lambda: cache._in_use()._flights.of("k").waiting == 11, "all joined")  # type: ignore[union-attr]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.open()
    assert await asyncio.gather(*others) == [5] * 10
    assert source.began == 1


async def test_without_any_caller_the_computation_ends_and_its_lease_is_free(kit: Toolkit) -> None:
    cache, source = cache_on(kit), Source(5, held=True)
    alone = asyncio.ensure_future(cache.get_or_set("k", source.compute, ttl=60))
    await source.until_began(1)
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    source.open()
    async with asyncio.timeout(30):
        assert await cache.get_or_set("k", source.compute, ttl=60) == 5
    assert source.began == 2


async def test_all_who_wait_get_the_error_and_the_next_one_computes(kit: Toolkit, other_kit: Toolkit) -> None:
    cache, other, source = cache_on(kit), cache_on(other_kit), Source(5, held=True)
    source.fault = OSError("the source is down")
    reads = [asyncio.ensure_future(cache.get_or_set("k", source.compute, ttl=60)) for _ in range(5)]
    await source.until_began(1)
    far = asyncio.ensure_future(other.get_or_set("k", source.compute, ttl=60))
    source.open()
    assert {type(each) for each in await asyncio.gather(*reads, far, return_exceptions=True)} == {OSError}
    source.fault = None
    assert await cache.get_or_set("k", source.compute, ttl=60) == 5


async def test_a_computation_that_cancels_itself_is_an_error(kit: Toolkit) -> None:
    async def cancels() -> int:
        raise asyncio.CancelledError

    with pytest.raises(OutlastError, match="cancelled by its own code"):
        await cache_on(kit).get_or_set("k", cancels, ttl=60)


@pytest.mark.parametrize("by", ["delete", "tag", "set", "far delete", "far tag"])
async def test_a_late_result_goes_to_its_caller_and_is_not_kept(kit: Toolkit, other_kit: Toolkit, by: str) -> None:
    """Also with a tag that no kept entry had: the key is added to it by the computation that is under way."""
    cache, far, source = cache_on(kit), cache_on(other_kit), Source("old", held=True)

    def read() -> asyncio.Future[object]:
        return asyncio.ensure_future(cache.get_or_set("k", source.compute, ttl=60, tags=["t"]))

    late = read()
    await source.until_began(1)
    source.value = "new"
    changer = far if by.startswith("far") else cache
    if by == "set":
        await cache.set("k", "new", ttl=60, tags=["t"])
    elif by.endswith("delete"):
        await changer.delete("k")
    else:
        await changer.invalidate("t")
    after = read()
    if by.endswith("delete"):
        await source.until_began(2)
    elif by == "set":
        assert await after == "new"
    source.open()
    assert await late == "old"
    assert await after == "new"
    assert await cache.get("k") == await far.get("k") == "new"


async def test_without_tags_many_who_miss_share_one_computation_too(kit: Toolkit, other_kit: Toolkit) -> None:
    source = Source([1, 2], held=True)
    caches = (cache_on(kit), cache_on(other_kit))
    reads = [asyncio.ensure_future(cache.get_or_set("k", source.compute, ttl=60)) for cache in caches * 50]
    await source.until_began(1)
    source.open()
    assert await asyncio.gather(*reads) == [[1, 2]] * 100
    assert source.began == 1


@pytest.mark.parametrize("by", ["delete", "set", "far delete", "far set"])
async def test_without_tags_a_late_result_is_not_kept_either(kit: Toolkit, other_kit: Toolkit, by: str) -> None:
    cache, far, source = cache_on(kit), cache_on(other_kit), Source("old", held=True)
    late = asyncio.ensure_future(cache.get_or_set("k", source.compute, ttl=60))
    await source.until_began(1)
    source.value = "new"
    changer = far if by.startswith("far") else cache
    if by.endswith("set"):
        await changer.set("k", "new", ttl=60)
    else:
        await changer.delete("k")
    source.open()
    assert await late == "old"
    assert await cache.get_or_set("k", source.compute, ttl=60) == "new"
    assert await far.get("k") == "new"


async def test_a_lease_whose_holder_is_gone_ends(kit: Toolkit, other_kit: Toolkit, clock: FakeClock) -> None:
    gone, cache, source = cache_on(kit), cache_on(other_kit), Source(5)
    begun = await gone._in_use().access.begin("k", "f" * 16, (), lease=10, kept=60, past="")
    assert begun.led
    waiting = asyncio.ensure_future(cache.get_or_set("k", source.compute, ttl=60))
    await until(lambda: cache._in_use()._flights.of("k") is not None, "it waits")
    assert source.began == 0
    clock.advance(10.1)
    assert await waiting == 5
    late = await gone._in_use().access.renew("k", "f" * 16, 10)
    assert not late


async def test_a_computation_past_the_deadline_of_its_caller_frees_its_lease(kit: Toolkit, other_kit: Toolkit) -> None:
    """Other processes would wait for the lease until its end."""
    cache, other, source = cache_on(kit), cache_on(other_kit), Source(1)

    source.fault = OSError("the source takes too long")
    with deadline(30), pytest.raises(OSError, match="too long"):
        await cache.get_or_set("k", past_its_end(source.compute), ttl=60)
    assert (await other._in_use().access.look("k")).lease == ""


async def test_a_value_is_kept_though_the_deadline_of_its_caller_has_passed(kit: Toolkit, other_kit: Toolkit) -> None:
    cache, other, source = cache_on(kit), cache_on(other_kit), Source(1)
    with deadline(30):
        assert await cache.get_or_set("k", past_its_end(source.compute), ttl=60) == 1
    assert await other.get("k") == 1


def past_its_end(compute: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    """Return a computation after which the deadline of its context has passed."""

    async def computed() -> object:
        ends_at(0)
        return await compute()

    return computed


async def test_a_lease_is_renewed_though_the_deadline_of_its_first_caller_has_passed(
    kit: Toolkit, other_kit: Toolkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[bool] = []
    real = CacheAccess.renew

    async def renew(self: CacheAccess, key: str, lease_id: str, lease: float) -> bool:
        renewed.append(await real(self, key, lease_id, lease))
        return renewed[-1]

    led = CacheAccess.begin

    async def begin(self: CacheAccess, *given: Any, **options: Any) -> Begun:
        try:
            return await led(self, *given, **options)
        finally:
            ends_at(0)

    monkeypatch.setattr(CacheAccess, "renew", renew)
    monkeypatch.setattr(CacheAccess, "begin", begin)
    cache, source = cache_on(kit), Source(1, held=True)
    cache._limits = structs.replace(cache._limits, lease=0.1)
    with deadline(30):
        reads = asyncio.create_task(cache.get_or_set("k", source.compute, ttl=60))
    await until(lambda: renewed, "the lease is renewed")
    source.open()
    await reads


async def test_the_deadline_of_one_caller_takes_no_side_for_the_others(kit: Toolkit, other_kit: Toolkit) -> None:
    cache, other, source = cache_on(kit), cache_on(other_kit), Source(1, held=True)
    with deadline(0):
        first = asyncio.create_task(cache.get_or_set("k", source.compute, ttl=60))
    others = [asyncio.create_task(cache.get_or_set("k", source.compute, ttl=60)) for _ in range(20)]
    with pytest.raises(DeadlinePassed):
        await first
    await source.until_began(1)
    source.open()
    assert await asyncio.gather(*others) == [1] * 20
    assert source.began == 1
    assert await other.get("k") == 1, "it is kept: the store is not away"
