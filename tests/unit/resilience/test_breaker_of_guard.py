"""The breaker of a guard in one process: what it refuses, its one probe, hung calls, and what it asks of the link."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from outlast import Breaker, Bulkhead, ConfigurationError, Guard, GuardOpen
from outlast.core.guards.answers import SharedBreaker, Transition
from outlast.resilience.ports import FIRST_READ, ProbeAnswer, SharedGuard
from tests.support.fake_time import FakeTime


async def fails() -> None:
    raise ConnectionError


async def works() -> int:
    return 1


async def open_it(guard: Guard) -> None:
    while guard.view().state == "closed":
        with pytest.raises(ConnectionError):
            await guard.call(fails)


def test_it_opens_and_no_call_is_made(time: FakeTime) -> None:
    guard = Guard("payments", breaker=Breaker(minimum=4, open_for=5), clock=time.now)

    async def main() -> None:
        await open_it(guard)
        assert guard.view().calls == 4
        with pytest.raises(GuardOpen, match="4 of 4 calls failed") as raised:
            await guard.call(works)
        assert raised.value.retry_after == 5
        with pytest.raises(GuardOpen):
            async with guard:
                raise AssertionError
        with pytest.raises(GuardOpen):
            guard.call_sync(works.__name__.upper)

    time.run(main)


@pytest.mark.parametrize("probe_works", [True, False])
def test_exactly_one_of_50_callers_probes(time: FakeTime, probe_works: bool) -> None:
    guard = Guard("payments", breaker=Breaker(minimum=4, open_for=5, ramp=0), clock=time.now)
    probes: list[int] = []

    async def probe() -> None:
        probes.append(1)
        await asyncio.sleep(0.1)
        if not probe_works:
            raise ConnectionError

    async def main() -> None:
        await open_it(guard)
        for _ in range(3):
            await asyncio.sleep(5)
            ended = await asyncio.gather(*[guard.call(probe) for _ in range(50)], return_exceptions=True)
            if probe_works:
                break
            assert sum(isinstance(each, GuardOpen) for each in ended) == 49
        assert guard.view().state == ("closed" if probe_works else "open")

    time.run(main)
    assert len(probes) == (1 if probe_works else 3)


@pytest.mark.parametrize("way", ["cancel", "block", "local"])
def test_a_probe_that_says_nothing_gives_its_place_back(time: FakeTime, way: str) -> None:
    guard = Guard("payments", breaker=Breaker(minimum=4, open_for=5), bulkhead=1, clock=time.now)

    async def main() -> None:
        await open_it(guard)
        await asyncio.sleep(5)
        if way == "cancel":
            call = asyncio.create_task(guard.call(asyncio.sleep, 9))
            await asyncio.sleep(1)
            assert guard.view().state == "half-open"
            call.cancel()
            await asyncio.wait([call])
        elif way == "block":
            with pytest.raises(asyncio.CancelledError):
                async with guard:
                    raise asyncio.CancelledError
        else:
            with pytest.raises(GuardOpen):
                await guard.call(refused)
        view = guard.view()
        assert (view.state, view.next_probe) == ("open", 0)
        assert await guard.call(works) == 1
        assert guard.view().state == "closed"

    async def refused() -> None:
        raise GuardOpen("another", 1, "it is down")

    time.run(main)


def test_calls_that_hang_open_it_within_the_slow_limit_and_a_tick(time: FakeTime) -> None:
    guard = Guard("payments", breaker=Breaker(slow=2), clock=time.now)

    async def main() -> None:
        calls = [asyncio.create_task(guard.call(asyncio.sleep, 3600)) for _ in range(20)]
        await asyncio.sleep(3.01)
        assert guard._lane is not None
        assert guard._lane.breaker is not None
        assert guard._lane.breaker.view(time.at).state == "open"  # `guard.view()` would look for slow calls itself
        with pytest.raises(GuardOpen, match="20 of 20 calls were slow"):
            await guard.call(works)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert guard.view().in_flight == 0

    time.run(main)


def test_hung_calls_of_threads_are_seen_by_the_next_call(time: FakeTime) -> None:
    guard = Guard("payments", breaker=Breaker(slow=2), clock=time.now)
    for _ in range(20):
        guard.__enter__()
    time.at += 3
    with pytest.raises(GuardOpen):
        guard.call_sync(int)


def test_an_open_breaker_refuses_at_once_who_would_wait_for_a_turn(time: FakeTime) -> None:
    guard = Guard("payments", breaker=Breaker(minimum=2), bulkhead=Bulkhead(1, max_wait=4), clock=time.now)

    async def main() -> None:
        block = asyncio.create_task(guard.call(asyncio.sleep, 3))
        await asyncio.sleep(0)
        waiter = asyncio.create_task(guard.call(works))
        await asyncio.sleep(0)
        guard.hold("open")
        with pytest.raises(GuardOpen, match="by an operator"):
            await guard.call(works)
        assert time.at == 1000
        with pytest.raises(GuardOpen):
            await waiter
        assert time.at == 1003
        await block

    time.run(main)
    assert guard._lane is not None
    assert guard._lane.permits is not None
    assert guard._lane.permits.taken == 0


def test_held_by_hand(time: FakeTime) -> None:
    guard = Guard("payments", breaker=Breaker(minimum=1), clock=time.now)

    async def main() -> None:
        guard.hold("open")
        with pytest.raises(GuardOpen):
            await guard.call(works)
        guard.hold("closed")
        with pytest.raises(ConnectionError):
            await guard.call(fails)
        assert await guard.call(works) == 1
        guard.hold("")
        assert guard.view().held == ""

    time.run(main)


def test_without_a_breaker_there_is_nothing_to_hold_or_view() -> None:
    for use in (Guard("payments").view, lambda: Guard("payments").hold("open")):
        with pytest.raises(ConfigurationError, match="has no breaker"):
            use()


class Link:
    """A link whose answers a test gives."""

    def __init__(self, *, starts: bool = True) -> None:
        self.started: list[SharedGuard] = []
        self.rung: list[str] = []
        self.asked: list[Future[ProbeAnswer]] = []
        self.renewals: list[Future[ProbeAnswer]] = []
        self.reports: list[Transition] = []
        self._starts = starts

    def start(self, guard: SharedGuard) -> Future[None]:
        self.started.append(guard)
        begun: Future[None] = Future()
        if self._starts:
            begun.set_result(None)
        return begun

    def tripped(self, name: str) -> None:
        self.rung.append(name)

    def take_probe(self, name: str) -> Future[ProbeAnswer]:
        self.asked.append(Future())
        return self.asked[-1]

    def renew_probe(self, name: str) -> Future[ProbeAnswer]:
        self.renewals.append(Future())
        return self.renewals[-1]

    def probe_ended(self, name: str, result: Transition) -> None:
        self.reports.append(result)


class TestShared:
    def guard(self, time: FakeTime, link: Link | None) -> Guard:
        breaker = Breaker(minimum=4, open_for=5, ramp=0)
        return Guard("payments", breaker=breaker, bulkhead=1, sharing=lambda: link, clock=time.now)

    def opened(self, time: FakeTime, probe_at: float = 0.0) -> SharedBreaker:
        return SharedBreaker(generation=1, open=True, since=time.at, probe_at=probe_at)

    def taken(self, guard: Guard) -> int:
        assert guard._lane is not None
        assert guard._lane.permits is not None
        return guard._lane.permits.taken

    def test_the_first_call_begins_and_waits_for_the_state_no_longer_than_the_bound(self, time: FakeTime) -> None:
        link = Link(starts=False)
        guard = self.guard(time, link)
        assert link.started == []

        async def main() -> None:
            await guard.call(works)
            assert time.at == 1000 + FIRST_READ
            await guard.call(works)
            assert time.at == 1000 + FIRST_READ

        time.run(main)
        assert link.started == [guard]

    def test_without_a_link_it_is_local(self, time: FakeTime) -> None:
        guard = self.guard(time, None)
        assert time.run(lambda: guard.call(works)) == 1
        assert guard.call_sync(int) == 0

    def test_one_that_shares_nothing_asks_no_link(self, time: FakeTime) -> None:
        link = Link()
        own = Guard("own", breaker=Breaker(share=False), sharing=lambda: link, clock=time.now)
        none = Guard("none", timeout=1, sharing=lambda: link, clock=time.now)
        own.call_sync(int)
        none.call_sync(int)
        assert link.started == []

    def test_a_process_that_starts_while_it_is_open_makes_no_call(self, time: FakeTime) -> None:
        link = Link()
        guard = self.guard(time, link)
        begin = link.start

        def start(guard: SharedGuard) -> Future[None]:
            guard.adopt(self.opened(time, probe_at=time.at + 3))
            return begin(guard)

        link.start = start  # type: ignore[method-assign]

        async def main() -> None:
            with pytest.raises(GuardOpen):
                await guard.call(works)

        time.run(main)
        assert guard.view().next_probe == 3

    def test_it_rings_when_it_opens_by_itself(self, time: FakeTime) -> None:
        link = Link()
        guard = self.guard(time, link)

        async def main() -> None:
            await guard.call(works)
            assert link.rung == []
            await open_it(guard)
            assert link.rung == ["payments"]
            await asyncio.sleep(5)
            with pytest.raises(ConnectionError):
                await guard.call(fails)  # its own probe: the shared breaker is closed
            assert link.rung == ["payments", "payments"]

        time.run(main)
        assert link.asked == []

    @pytest.mark.parametrize("works_again", [True, False])
    def test_the_probe_is_made_by_who_gets_it_from_the_store(self, time: FakeTime, works_again: bool) -> None:
        link = Link()
        guard = self.guard(time, link)

        async def main() -> None:
            await guard.call(works)
            guard.adopt(self.opened(time))
            call = asyncio.create_task(guard.call(works if works_again else fails))
            await asyncio.sleep(0)
            with pytest.raises(GuardOpen):
                await guard.call(works)
            assert len(link.asked) == 1
            link.asked[0].set_result(ProbeAnswer(granted=True, at=time.at + 10))
            await asyncio.wait([call])

        time.run(main)
        assert link.reports == ["closed" if works_again else "opened"]
        assert (guard.view().state, link.rung) == ("closed" if works_again else "open", [])
        assert self.taken(guard) == 0

    def test_another_process_has_the_probe(self, time: FakeTime) -> None:
        link = Link()
        guard = self.guard(time, link)

        async def main() -> None:
            await guard.call(works)
            guard.adopt(self.opened(time))
            call = asyncio.create_task(guard.call(works))
            await asyncio.sleep(0)
            link.asked[0].set_result(ProbeAnswer(granted=False, at=time.at + 7))
            with pytest.raises(GuardOpen, match="another process") as raised:
                await call
            assert raised.value.retry_after == 7

        time.run(main)
        assert (link.reports, self.taken(guard), guard.view().next_probe) == ([], 0, 7)

    @pytest.mark.parametrize("granted", [True, False])
    def test_a_caller_that_is_cancelled_while_it_asks_gives_the_probe_back(self, time: FakeTime, granted: bool) -> None:
        link = Link()
        guard = self.guard(time, link)

        async def main() -> None:
            await guard.call(works)
            guard.adopt(self.opened(time))
            call = asyncio.create_task(guard.call(works))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            assert not link.asked[0].cancelled()
            link.asked[0].set_result(ProbeAnswer(granted=granted, at=time.at + 10))
            assert link.reports == ([""] if granted else [])
            assert (guard.view().state, guard.view().next_probe) == ("open", 0)

        time.run(main)
        assert self.taken(guard) == 0

    def test_a_link_that_does_not_answer_is_waited_for_a_second(self, time: FakeTime) -> None:
        link = Link()
        guard = self.guard(time, link)

        async def main() -> None:
            await guard.call(works)
            guard.adopt(self.opened(time))
            with pytest.raises(GuardOpen, match="has not said in time"):
                await guard.call(works)
            assert time.at == 1001

        time.run(main)
        link.asked[0].set_result(ProbeAnswer(granted=True, at=time.at))
        assert (link.reports, self.taken(guard)) == ([""], 0)

    def test_a_thread_asks_too(self, time: FakeTime) -> None:
        link = Link()
        guard = self.guard(time, link)
        guard.call_sync(int)
        take = link.take_probe

        def answered(name: str) -> Future[ProbeAnswer]:
            take(name).set_result(ProbeAnswer(granted=True, at=time.at + 10))
            return link.asked[-1]

        link.take_probe = answered  # type: ignore[method-assign]
        guard.adopt(self.opened(time))
        assert guard.call_sync(int) == 0
        assert link.reports == ["closed"]

    def test_it_closed_while_the_probe_was_asked_for(self, time: FakeTime) -> None:
        link = Link()
        guard = self.guard(time, link)

        async def main() -> None:
            await guard.call(works)
            guard.adopt(self.opened(time))
            call = asyncio.create_task(guard.call(works))
            await asyncio.sleep(0)
            guard.adopt(SharedBreaker(generation=2, open=False, since=time.at, probe_at=0.0, closed_at=time.at))
            link.asked[0].set_result(ProbeAnswer(granted=True, at=time.at + 10))
            assert await call == 1

        time.run(main)
        assert link.reports == [""]


def test_looks_for_hung_calls_do_not_pile_up(time: FakeTime) -> None:
    guard = Guard("payments", breaker=Breaker(slow=500), clock=time.now)

    async def main() -> None:
        hangs = asyncio.create_task(guard.call(asyncio.sleep, 400))
        await asyncio.sleep(0)
        for _ in range(50):
            time.at += 1.01  # the next call comes before the timer of the loop
            await guard.call(works)
            await asyncio.sleep(0)
        timers: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        assert len([each for each in timers if not each.cancelled()]) <= 3  # the sleep, and a look or two
        hangs.cancel()
        await asyncio.wait([hangs])

    time.run(main)


def test_a_probe_that_takes_long_and_is_not_slow_closes_it(time: FakeTime) -> None:
    guard = Guard("reports", timeout=30, breaker=True, clock=time.now)

    async def works_for_long() -> int:
        await asyncio.sleep(29)
        return 1

    async def main() -> None:
        await open_it(guard)
        await asyncio.sleep(5)
        assert await guard.call(works_for_long) == 1

    time.run(main)
    assert (guard.view().state, guard.view().stale) == ("closed", 0)


@pytest.mark.parametrize(("slow", "timeout"), [(None, 4), ("4s", None), ("4s", 60)])
def test_a_lease_in_which_no_probe_can_end_is_refused(slow: str | None, timeout: float | None) -> None:
    with pytest.raises(ConfigurationError, match=r"Breaker\(probe_lease=4\): a call may take 4 s .* such as 6"):
        Guard("payments", timeout=timeout, breaker=Breaker(slow=slow, probe_lease=4))
    assert Guard("payments", timeout=timeout, breaker=Breaker(slow=slow, probe_lease=4.5)).breaker is not None
