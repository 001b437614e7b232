"""A limiter in the tests of an app: kept in memory, by the clock that the test moves, and forgotten at its end."""

from __future__ import annotations

from outlast import Outlast, Settings


def shop_of(folder: str) -> Outlast:
    return Outlast("shop", settings=Settings(url="memory:", toolkit_url=f"sqlite:{folder}/never-opened.db"))


async def test_a_test_moves_the_clock_of_a_limiter_and_begins_from_nothing() -> None:
    shop = shop_of("/no/such/folder")
    limiter = shop.limiter("2/day, 1/hour", name="api")
    for _ in range(2):
        with shop.testing() as testing:
            assert await limiter.take("k")
            refused = await limiter.take("k")
            assert (refused.allowed, refused.retry_after, refused.approximate) == (False, 3600.0, False)
            testing.clock.advance(3600)
            assert await limiter.take("k")
            testing.clock.advance(3600)
            assert (await limiter.take("k")).violated == ("api:2/d",)


def test_blocking_code_does_too() -> None:
    shop = shop_of("/no/such/folder")
    limiter = shop.limiter("1/hour", name="api", algorithm="fixed")
    with shop.testing() as testing:
        assert limiter.take_sync("k")
        assert not limiter.take_sync("k")
        testing.clock.advance(3600)
        assert limiter.take_sync("k")
