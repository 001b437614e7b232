"""Waiting for a change: no notification is missed, from any thread, and a look is repeated until it is done."""

from __future__ import annotations

import asyncio
import threading

import pytest

from outlast.aio.look import AGAIN, Look, look_until
from outlast.aio.notifier import Notifier

FOREVER = 1_000.0


async def test_a_notification_before_the_wait_is_not_missed() -> None:
    notifier = Notifier()
    seen = notifier.count
    notifier.notify()
    await notifier.wait(seen, FOREVER)
    assert notifier.count == seen + 1


async def test_all_who_wait_are_woken_once() -> None:
    notifier = Notifier()
    waits = [asyncio.ensure_future(notifier.wait(0, FOREVER)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    notifier.notify()
    await asyncio.gather(*waits)
    again = asyncio.ensure_future(notifier.wait(notifier.count, FOREVER))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not again.done()
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again
    notifier.notify()  # a wait that was cancelled is not woken


async def test_another_thread_wakes_a_loop() -> None:
    notifier = Notifier()
    wait = asyncio.ensure_future(notifier.wait(0, FOREVER))
    await asyncio.sleep(0)
    thread = threading.Thread(target=notifier.notify)
    thread.start()
    await wait
    thread.join()


def test_a_loop_that_was_closed_is_passed_by() -> None:
    notifier = Notifier()
    wait = notifier.wait(0, FOREVER)

    async def begin() -> None:
        wait.send(None)  # up to its future: no task is left pending in the closed loop

    asyncio.run(begin())
    notifier.notify()
    assert notifier.count == 1
    wait.close()


async def test_a_wait_ends_by_time() -> None:
    await Notifier().wait(0, 0.001)


async def test_a_look_is_repeated_at_each_notification_until_it_is_done() -> None:
    notifier = Notifier()
    found: list[int] = []

    async def look(left: float) -> Look[int]:
        found.append(len(found))
        asyncio.get_running_loop().call_soon(notifier.notify)
        return Look(found[-1], done=len(found) == 3)

    assert await look_until(look, notifier=notifier, timeout=FOREVER, poll=FOREVER) == 2


async def test_a_change_during_the_look_is_seen() -> None:
    notifier = Notifier()
    looks = 0

    async def look(left: float) -> Look[int]:
        nonlocal looks
        looks += 1
        if looks == 1:
            notifier.notify()
        return Look(looks, done=looks == 2)

    assert await look_until(look, notifier=notifier, timeout=FOREVER, poll=FOREVER) == 2


@pytest.mark.parametrize(("poll", "soon"), [(0.0, None), (FOREVER, 0.0), (FOREVER, AGAIN)])
async def test_it_looks_again_without_a_notification(poll: float, soon: float | None) -> None:
    looks = 0

    async def look(left: float) -> Look[int]:
        nonlocal looks
        looks += 1
        return Look(looks, done=looks == 4, soon=soon)

    assert await look_until(look, notifier=Notifier(), timeout=FOREVER, poll=poll) == 4


async def test_it_looks_once_when_there_is_no_time_and_returns_what_it_found() -> None:
    async def look(left: float) -> Look[str]:
        return Look("nothing yet", done=False)

    assert await look_until(look, notifier=Notifier(), timeout=0, poll=FOREVER) == "nothing yet"
