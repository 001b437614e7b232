"""Two rules of a shared guard: no first call passes the others, and no probe is made after its lease."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from outlast import Breaker
from outlast.core.errors import GuardOpen
from outlast.core.guards.answers import SharedBreaker
from outlast.resilience.guard import Guard
from outlast.resilience.ports import ProbeAnswer, SharedGuard
from tests.support.fake_time import FakeTime
from tests.unit.resilience.test_breaker_of_guard import Link


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


class SlowLink(Link):
    """A link whose first read a test ends."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: Future[None] = Future()

    def start(self, guard: SharedGuard) -> Future[None]:
        super().start(guard)
        return self.begun


def guard_of(time: FakeTime, link: Link) -> Guard:
    return Guard("payments", breaker=Breaker(minimum=4, open_for=5, ramp=0), sharing=lambda: link, clock=time.now)


async def _works() -> int:
    return 1


def _open(time: FakeTime, probe_at: float) -> SharedBreaker:
    return SharedBreaker(generation=1, open=True, since=time.now(), probe_at=probe_at)


def test_all_calls_wait_for_the_first_read_of_the_state(time: FakeTime) -> None:
    link = SlowLink()
    guard = guard_of(time, link)

    async def main() -> None:
        calls = [asyncio.create_task(guard.call(_works)) for _ in range(50)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert not any(call.done() for call in calls)
        (started,) = link.started
        started.adopt(_open(time, time.now() + 60))
        link.begun.set_result(None)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in answers] == [GuardOpen] * 50

    time.run(main)


def test_a_probe_whose_lease_has_ended_before_it_begins_is_given_back_and_not_made(time: FakeTime) -> None:
    link = Link()
    guard = guard_of(time, link)

    async def main() -> None:
        await guard.call(_works)
        guard.adopt(_open(time, time.now()))
        call = asyncio.create_task(guard.call(_works))
        while not link.asked:
            await asyncio.sleep(0)
        link.asked[0].set_result(ProbeAnswer(True, time.now()))
        with pytest.raises(GuardOpen):
            await call
        assert link.reports == [""]
        again = asyncio.create_task(guard.call(_works))
        while len(link.asked) < 2:
            await asyncio.sleep(0)
        link.asked[1].set_result(ProbeAnswer(True, time.now() + 10))
        assert await again == 1

    time.run(main)
