"""The limiter of pyrate-limiter: a bucket for each key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pyrate_limiter import AbstractBucket, BucketFactory, Duration, Limiter, Rate, RateItem, RedisBucket
from redis.asyncio import Redis

from benchmarks.toolkit_calls import Cases, Place

__all__ = ["cases"]


class _Buckets(BucketFactory):  # type: ignore[misc]
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._buckets: dict[str, AbstractBucket] = {}

    async def open(self, names: list[str]) -> None:
        for name in names:
            bucket = await RedisBucket.init([Rate(1_000_000, Duration.MINUTE)], self._redis, name)
            self._buckets[name] = bucket
            self.schedule_leak(bucket)

    def wrap_item(self, name: str, weight: int = 1) -> RateItem:
        return RateItem(name, self._buckets[name].now(), weight=weight)

    def get(self, item: RateItem) -> AbstractBucket:
        return self._buckets[item.name]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield decisions of its log of requests, which is a sliding window."""
    redis = Redis.from_url(place.url)
    buckets = _Buckets(redis)
    await buckets.open([f"user:{number}" for number in range(1000)])
    limiter = Limiter(buckets)

    async def decide(number: int) -> object:
        return await limiter.try_acquire_async(f"user:{number % 1000}", blocking=False)

    yield {"decision": decide, "sliding decision": decide}
    limiter.close()
    await redis.aclose()
