"""Interleaved reads, updates and invalidations by two caches, judged by what each read may return.

A read that begins after an invalidation has ended must not return a value from before the update that it followed. So
the judgement covers every read, and the last one of each key in particular.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from outlast.toolkit.cache.cache import Cache

__all__ = ["Verdict", "interleave"]

AT_ONCE = 100
"""Interleavings that run together, so that the calls of each meet those of others."""


@dataclass
class Verdict:
    """What was seen. old: the reads that returned an old value."""

    interleavings: int = 0
    reads: int = 0
    computed: int = 0
    old: list[str] = field(default_factory=list)


class _Subject:
    """One key and its source. valid: the oldest value that a read that begins now may return."""

    def __init__(self, caches: Sequence[Cache], name: str, rng: Random, verdict: Verdict, near: float) -> None:
        self.near = near
        self.caches = caches
        self.name = name
        self.rng = rng
        self.verdict = verdict
        self.value = self.valid = 0

    async def pause(self) -> None:
        """Let others go on: for some turns of the loop, or for a round trip to the store."""
        if self.rng.random() < 0.3:
            await self.rng.choice(self.caches).get("pause")
        for _ in range(self.rng.randrange(8)):
            await asyncio.sleep(0)

    async def compute(self) -> int:
        value = self.value
        self.verdict.computed += 1
        await self.pause()
        return value

    async def read(self, tags: Sequence[str]) -> None:
        valid, cache = self.valid, self.rng.choice(self.caches)
        stale = self.rng.choice([0, 60])
        found = await cache.get_or_set(
            self.name, self.compute, ttl=60, tags=tags, stale=stale, type=int, near=self.near
        )
        self.verdict.reads += 1
        if found < valid:
            self.verdict.old.append(f"{self.name}: {found} after the invalidation of {valid}")

    async def update(self, by: str) -> None:
        self.value += 1
        value, cache = self.value, self.rng.choice(self.caches)
        await self.pause()
        if by == "key":
            await cache.delete(self.name)
        else:
            await cache.invalidate(f"{self.name}-tag")
        self.valid = max(self.valid, value)

    async def run(self, ways: Sequence[str]) -> None:
        by = self.rng.choice(ways)
        tags = [f"{self.name}-tag", "all"] if by == "tag" else []

        async def actor() -> None:
            for _ in range(self.rng.randrange(1, 4)):
                await self.pause()
                await (self.read(tags) if self.rng.random() < 0.7 else self.update(by))

        await asyncio.gather(*(actor() for _ in range(self.rng.randrange(2, 5))))
        await self.update(by)
        await self.read(tags)
        self.verdict.interleavings += 1


async def interleave(
    caches: Sequence[Cache], number: int, seed: int, *, near: float = 0, tags: bool = False
) -> Verdict:
    """Run this many interleavings; the seed decides what each actor does and how long it pauses.

    tags: half of the keys are invalidated by a tag. near: for one cache only, as another process may use its copy until
    it is told of a change.
    """
    verdict, ways = Verdict(), ["key", "tag"] if tags else ["key"]
    for begin in range(0, number, AT_ONCE):
        names = range(begin, min(begin + AT_ONCE, number))
        await asyncio.gather(*(_Subject(caches, f"k{n}", Random(seed + n), verdict, near).run(ways) for n in names))
    return verdict
