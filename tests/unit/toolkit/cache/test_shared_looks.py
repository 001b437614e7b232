"""Looks are shared by those who came before they began, and by no others."""

from __future__ import annotations

import asyncio

import pytest

from outlast.toolkit.cache.shared_looks import SharedLooks


class Place:
    """What is looked into. Each look waits until it is let go."""

    def __init__(self) -> None:
        self.began = 0
        self.gates: list[asyncio.Event] = []
        self.fault: Exception | None = None

    async def look(self, key: str) -> int:
        self.began += 1
        number = self.began
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        if self.fault is not None:
            raise self.fault
        return number


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_calls_are_two_looks() -> None:
    place = Place()
    looks = SharedLooks(place.look)
    first = asyncio.ensure_future(looks.look("k"))
    await turns()
    more = [asyncio.ensure_future(looks.look("k")) for _ in range(100)]
    other = asyncio.ensure_future(looks.look("other"))
    await turns()
    assert place.began == 2, "one of each key"
    more[0].cancel()
    place.gates[0].set()
    await turns()
    late = asyncio.ensure_future(looks.look("k"))
    await turns()
    place.gates[2].set()
    assert await first == 1
    assert await asyncio.gather(*more[1:]) == [3] * 99
    await turns()
    assert place.began == 4, "who came while it was under way has another"
    place.gates[1].set()
    place.gates[3].set()
    assert (await other, await late) == (2, 4)
    assert not looks._running


async def test_an_error_reaches_all_who_share_and_a_cancelled_first_call_leaves_the_next() -> None:
    place = Place()
    looks = SharedLooks(place.look)
    first = asyncio.ensure_future(looks.look("k"))
    await turns()
    more = [asyncio.ensure_future(looks.look("k")) for _ in range(3)]
    await turns()
    first.cancel()
    await turns()
    place.fault = OSError("away")
    place.gates[1].set()
    assert [type(each) for each in await asyncio.gather(*more, return_exceptions=True)] == [OSError] * 3
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not looks._running
