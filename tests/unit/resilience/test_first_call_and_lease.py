"""Two rules of a shared guard: no first call passes the others, and no probe is made after its lease."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from outlast import Breaker, deadline
from outlast.core.errors import DeadlinePassed, GuardOpen
from outlast.core.guards.answers import SharedBreaker
from outlast.resilience import lane
from outlast.resilience.gate import Gate
from outlast.resilience.guard import Guard
from outlast.resilience.left_probe import answered
from outlast.resilience.ports import ProbeAnswer, SharedGuard
from tests.support.fake_time import FakeTime, fake_time
from tests.unit.resilience.test_breaker_of_guard import Link


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    return fake_time(monkeypatch)


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


def test_a_deadline_ends_the_wait_for_the_first_read_of_its_call_alone(time: FakeTime) -> None:
    link = SlowLink()
    guard = guard_of(time, link)
    calls: list[int] = []

    async def counted() -> None:
        calls.append(1)

    async def main() -> None:
        for _ in range(2):
            with pytest.raises(DeadlinePassed), deadline(0.25):
                await guard.call(counted)
        assert time.at == 1000.5
        link.started[0].adopt(_open(time, time.now() + 60))
        link.begun.set_result(None)
        with pytest.raises(GuardOpen):
            await guard.call(counted)

    time.run(main)
    assert calls == []


@pytest.mark.parametrize("answered", [True, False])
def test_a_deadline_that_passes_while_the_store_is_asked_makes_no_probe(time: FakeTime, answered: bool) -> None:
    link = Link()
    guard = guard_of(time, link)
    calls: list[int] = []

    async def counted() -> None:
        calls.append(1)

    async def probe() -> None:
        with deadline(0.25):
            await guard.call(counted)

    async def main() -> None:
        await guard.call(_works)
        guard.adopt(_open(time, time.now()))
        call = asyncio.create_task(probe())
        await asyncio.sleep(0)
        if answered:
            link.asked[0].set_result(ProbeAnswer(granted=True, at=time.at + 10))
            time.at += 0.5  # the loop was busy
        with pytest.raises(DeadlinePassed):
            await call
        if not answered:
            assert time.at == 1000.25
            link.asked[0].set_result(ProbeAnswer(granted=True, at=time.at + 10))
        assert (calls, link.reports, guard.view().state) == ([], [""], "open")
        assert guard.view().next_probe == 0  # the next caller may ask at once

    time.run(main)


@pytest.mark.parametrize(("at", "outcome"), [(1.0, "closed"), (4.0, "closed"), (6.0, "")])
def test_a_plain_call_on_a_loop_leaves_the_probe_to_the_next_call(time: FakeTime, at: float, outcome: str) -> None:
    link = Link()
    guard = guard_of(time, link)

    async def main() -> None:
        guard.call_sync(int)
        guard.adopt(_open(time, time.now()))
        with pytest.raises(GuardOpen):
            guard.call_sync(int)
        link.asked[0].set_result(ProbeAnswer(granted=True, at=time.at + 10))
        guard.adopt(SharedBreaker(generation=2, open=True, since=time.at, probe_at=time.at + 10))
        await asyncio.sleep(at)
        if outcome:
            assert guard.call_sync(int) == 0
        else:
            with pytest.raises(GuardOpen):
                guard.call_sync(int)

    time.run(main)
    assert link.reports == [outcome]
    assert guard.view().state == (outcome or "open")


@pytest.mark.parametrize("soon", [True, False])
def test_plain_calls_on_a_loop_that_are_rarer_than_half_the_lease_make_a_probe(
    time: FakeTime, monkeypatch: pytest.MonkeyPatch, soon: bool
) -> None:
    link = Link()
    guard = guard_of(time, link)
    waits: list[float] = []

    def answered(asked: Future[ProbeAnswer], within: float) -> bool:
        waits.append(within)
        if soon:
            asked.set_result(ProbeAnswer(granted=True, at=time.at + 10))
        return soon

    monkeypatch.setattr(lane, "answered", answered)

    async def main() -> None:
        guard.call_sync(int)
        guard.adopt(_open(time, time.now()))
        with pytest.raises(GuardOpen):
            guard.call_sync(int)
        assert waits == []
        link.asked[0].set_result(ProbeAnswer(granted=True, at=time.at + 10))
        await asyncio.sleep(60)
        if soon:
            assert guard.call_sync(int) == 0
        else:
            with pytest.raises(GuardOpen):
                guard.call_sync(int)
            link.asked[1].set_result(ProbeAnswer(granted=True, at=time.at + 10))
            assert guard.call_sync(int) == 0  # it was left to this one

    time.run(main)
    assert waits == [lane.ON_LOOP]
    assert (guard.view().state, link.reports) == ("closed", ["", "closed"])


def test_an_answer_is_waited_for_so_long() -> None:
    asked: Future[ProbeAnswer] = Future()
    assert not answered(asked, 0)
    thread = threading.Thread(target=asked.set_result, args=(ProbeAnswer(granted=True, at=1.0),))
    thread.start()
    assert answered(asked, 60)
    thread.join()


@pytest.mark.parametrize("granted", [True, False])
def test_the_lease_of_the_store_is_renewed_as_the_store_says(time: FakeTime, granted: bool) -> None:
    link = Link()
    guard = guard_of(time, link)

    async def main() -> None:
        gate = Gate(guard)
        await gate.begin()
        guard.adopt(_open(time, time.now()))
        taking = asyncio.create_task(gate.take_probe())
        await asyncio.sleep(0)
        link.asked[0].set_result(ProbeAnswer(granted=True, at=time.now() + 10))
        probe = await taking
        assert probe is not None
        time.at += 9
        probe.renew()
        link.renewals[0].set_result(ProbeAnswer(granted=granted, at=time.now() + (10 if granted else 1)))
        time.at += 9
        probe.end("success")

    time.run(main)
    assert guard.view().state == ("closed" if granted else "open")
    assert link.reports == ["closed" if granted else ""]
