"""Room is bounded by count and bytes, given in order, and taken by no call that was cancelled."""

from __future__ import annotations

import asyncio

import pytest

from outlast.clients.amqp.window import SendWindow


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_as_many_as_fit_enter() -> None:
    window = SendWindow(3, 100)
    assert await window.enter([10, 80, 20]) == 2  # 110 bytes would be too many
    assert await window.enter([10, 10]) == 1
    assert (window.count, window.size) == (3, 100)


async def test_a_message_larger_than_the_window_goes_alone() -> None:
    window = SendWindow(3, 100)
    assert await window.enter([500, 1]) == 1
    waiting = asyncio.create_task(window.enter([1]))
    await turn()
    assert not waiting.done()
    window.leave(1, 500)
    assert await waiting == 1


async def test_calls_are_served_in_their_order() -> None:
    window = SendWindow(2, 100)
    await window.enter([1, 1])
    served: list[str] = []

    async def enter(name: str, sizes: list[int]) -> None:
        number = await window.enter(sizes)
        served.append(f"{name}{number}")

    calls = [asyncio.create_task(enter(name, sizes)) for name, sizes in (("a", [99, 1]), ("b", [1]), ("c", [1]))]
    await turn()
    window.leave(1, 1)  # room for b and c, but not for a, which was first
    await turn()
    assert served == ["a1"]
    window.leave(1, 1)
    await turn()
    assert served == ["a1", "b1"]
    window.leave(1, 99)
    await asyncio.gather(*calls)
    assert served == ["a1", "b1", "c1"]


@pytest.mark.parametrize("granted", [False, True])
async def test_a_cancelled_call_takes_no_room(granted: bool) -> None:
    window = SendWindow(1, 100)
    await window.enter([1])
    first, second = asyncio.create_task(window.enter([2])), asyncio.create_task(window.enter([3]))
    await turn()
    if granted:
        window.leave(1, 1)  # the first call has its room, and is cancelled before it runs
        first.cancel()
    else:
        first.cancel()
        window.leave(1, 1)
    assert await second == 1
    assert (window.count, window.size) == (1, 3)
    assert first.cancelled()


async def test_a_cancelled_call_holds_up_nobody_behind_it() -> None:
    window = SendWindow(5, 100)
    await window.enter([50])
    large, small = asyncio.create_task(window.enter([60])), asyncio.create_task(window.enter([10]))
    await turn()
    large.cancel()
    assert await small == 1
