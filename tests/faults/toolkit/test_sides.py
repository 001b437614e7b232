"""Each piece of the toolkit takes its documented side in each way in which the store goes away, and is whole again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest

from outlast import Outlast, Settings
from outlast.toolkit.away import OPEN_FOR
from tests.support import outages, sides
from tests.support.outages import WAYS, Way
from tests.support.polling import until
from tests.support.sides import ROWS, WHOLE, Cache, Row

PAGE: Final = Path(__file__).parents[3] / "docs" / "toolkit.md"
TIMEOUT: Final = 1.5
READS: Final = 50
PATIENCE: Final = 60.0
"""Seconds for what takes a few: the machine may be busy. The times themselves are printed."""


class Calls:
    """Counts the calls of an app that reach the store of its toolkit: the others are refused at once."""

    def __init__(self, shop: Outlast) -> None:
        self.number = 0
        self._kit = shop._toolkit()
        self._called: Callable[..., Awaitable[Any]] = self._kit._called
        self._kit._called = self.count  # type: ignore[method-assign, assignment]

    async def count(self, *given: Any) -> Any:
        self.number += 1
        return await self._called(*given)


async def observed(row: Row, way: Way) -> tuple[str, float]:
    """Return the side that a row takes, and the seconds until then."""
    began = monotonic()
    side = await row.away()
    for _ in range(way.looks - 1):
        if side != WHOLE:
            break
        side = await row.away()
    return side, monotonic() - began


async def whole_after(row: Row) -> float:
    """Return the seconds until a row is whole."""
    began = monotonic()
    await until(row.is_whole, f"{row.name} is whole", within=PATIENCE)
    return monotonic() - began


async def done(step: object) -> None:
    if isawaitable(step):
        await step


@pytest.mark.parametrize("way", WAYS, ids=[way.name.split(",")[0].replace(" ", "-") for way in WAYS])
async def test_each_piece_takes_its_side_and_is_whole_when_the_store_is_back(way: Way, tmp_path: Path) -> None:
    async with way.make(tmp_path) as place:
        settings = Settings(url="memory:", toolkit_url=place.url, toolkit_timeout=TIMEOUT)
        rows = [
            make(Outlast(f"shop{number}", settings=settings))
            for number, make in enumerate(ROWS)
            if not (way.first_use and make.holds)
        ]
        try:
            if not way.first_use:
                await asyncio.gather(*(row.begin() for row in rows))
            await done(place.begin())
            try:
                reads = await asyncio.gather(
                    reads_of_one_request(rows[0], way), *(observed(row, way) for row in rows[1:])
                )
            finally:
                await done(place.end())
            back = await asyncio.gather(*(whole_after(row) for row in rows))
        finally:
            for row in rows:
                await row.end()
    print(f"\n{way.name}\n  {'piece':20} {'side':8} {'taken after':>12} {'whole again after':>18}")
    for row, (side, taken), again in zip(rows, reads, back, strict=True):
        print(f"  {row.name:20} {side:8} {taken:10.2f} s {again:16.2f} s")
    for row, (side, _) in zip(rows, reads, strict=True):
        assert side == (WHOLE if row.name in way.goes_on else row.side), row.name
    assert max(taken for _, taken in reads) < PATIENCE
    assert max(back) < PATIENCE


async def reads_of_one_request(row: Row, way: Way) -> tuple[str, float]:
    """Look at the cache, then read more; nearly none of the reads reaches a store that is away."""
    assert isinstance(row, Cache)
    began, calls = monotonic(), Calls(row.shop)
    found = await observed(row, way)
    if way.waits:
        for _ in range(READS - 1):
            assert await row.look() == row.side
        probes = (monotonic() - began) / OPEN_FOR
        assert calls.number <= 1 + probes, "one call finds out, and one each second looks again"
    return found


def test_the_page_has_the_rows_and_the_ways() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for made in (sides.page_lines(), outages.page_lines()):
        at = lines.index(made[0])
        assert lines[at : at + len(made)] == made
        assert not lines[at + len(made)], "the table ends there"
