"""What belongs to an event loop is closed on it when it ends."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from outlast.aio.loop_end import at_loop_end


class Used:
    """Something that a loop uses."""

    def __init__(self) -> None:
        self.closed_on: list[asyncio.AbstractEventLoop] = []

    async def aclose(self) -> None:
        await asyncio.to_thread(lambda: None)  # its loop still works in full
        self.closed_on.append(asyncio.get_running_loop())


async def use(used: Used) -> asyncio.AbstractEventLoop:
    at_loop_end(used)
    return asyncio.get_running_loop()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_it_is_closed_once_on_its_own_loop(run: object) -> None:
    used = Used()
    loop = run(use(used))  # type: ignore[operator]
    assert used.closed_on == [loop]


def test_a_runner_closes_it_at_its_end() -> None:
    used = Used()
    with asyncio.Runner() as runner:
        runner.run(use(used))
        runner.run(asyncio.sleep(0))
        assert used.closed_on == []
    assert len(used.closed_on) == 1


def test_one_that_nothing_else_refers_to_is_forgotten() -> None:
    async def main() -> None:
        at_loop_end(Used())

    asyncio.run(main())
