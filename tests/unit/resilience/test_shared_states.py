"""What one process does with the shared states: it votes once, takes one probe, and believes only what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec import structs

from outlast import Breaker
from outlast.brokers.memory import MemoryStore
from outlast.core.errors import StoreUncertain
from outlast.core.guards.answers import Admission, BreakerView, SharedBreaker
from outlast.core.guards.breaker import LocalBreaker
from outlast.core.guards.record import GuardRecord, Vote, asked, commanded, tallied
from outlast.resilience.ports import ProbeAnswer
from outlast.resilience.shared_states import HeldProbe, SharedStates, rules_of, vote_of
from outlast.testing.clock import FakeClock

POLICY = Breaker(minimum=2, open_for=5, probe_lease=10, ramp=0, slow=1, slow_rate=0.9, quorum=0.4)
HERE = 50.0
"""The clock of the process is so much ahead of that of the store."""


class Process:
    """A process with one guard: its breaker, and its shared states."""

    def __init__(self, clock: FakeClock, voter: str) -> None:
        self._clock = clock
        self.name = "payments"
        self.breaker = POLICY
        self.local = LocalBreaker(POLICY, self.now())
        self.states = SharedStates(voter, self.now)
        self.states.add(self, POLICY)
        self.adopted: list[SharedBreaker] = []

    def now(self) -> float:
        return self._clock.monotonic() + HERE

    def adopt(self, shared: SharedBreaker) -> None:
        self.adopted.append(shared)
        self.local.adopt(shared, self.now())

    def view(self) -> BreakerView:
        return self.local.view(self.now())

    def fail(self, calls: int = 2) -> None:
        """Make calls that fail."""
        for _ in range(calls):
            admission = self.local.admit(self.now())
            assert isinstance(admission, Admission)
            self.local.end(admission, "failure", self.now())


class LosesAnswers(MemoryStore):
    """A store that stores a change and loses the answer, so many times."""

    lost = 0

    async def swap(self, records: Sequence[GuardRecord]) -> list[bool]:
        stored = await super().swap(records)
        if self.lost > 0:
            self.lost -= 1
            raise StoreUncertain("the connection ended before the answer")
        return stored


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> LosesAnswers:
    return LosesAnswers(clock)


async def record(store: MemoryStore) -> GuardRecord:
    return (await store.guards()).of("payments")


async def open_it(store: MemoryStore, clock: FakeClock) -> None:
    """Open the guard for all, with the probe due."""
    view = await store.guards()
    first = asked(view.of("payments"), Vote("x", open=True), view.now, rules_of(POLICY))
    assert await store.swap([first, tallied(first, view.now + 1)]) == [True, True]
    clock.advance(7)


def test_the_rules_are_those_of_the_policy() -> None:
    rules = rules_of(POLICY)
    assert (rules.interval, rules.lease, rules.ramp, rules.minimum) == (5, 10, 0, 2)
    assert (rules.failure_rate, rules.slow_rate, rules.quorum) == (0.5, 0.9, 0.4)


def test_a_breaker_that_is_held_by_hand_is_no_vote(clock: FakeClock) -> None:
    process = Process(clock, "a")
    process.fail()
    assert vote_of("a", process.view()) == Vote("a", True, 2, 2, 0)
    process.local.hold("open", process.now())
    assert not vote_of("a", process.view()).open


async def test_a_process_without_calls_does_not_vote_and_one_with_calls_votes_once(
    store: LosesAnswers, clock: FakeClock
) -> None:
    idle, busy = Process(clock, "a"), Process(clock, "b")
    busy.fail(1)
    view = await store.guards()
    assert await store.swap([asked(view.of("payments"), Vote("x", open=True), view.now)]) == [True]
    for _ in range(2):
        await idle.states.refresh(store)
        await busy.states.refresh(store)
    assert (await record(store)).votes == (Vote("x", open=True), Vote("b", False, 1, 1, 0))
    assert (await record(store)).revision == 2


async def test_a_round_that_is_left_over_is_not_answered(store: LosesAnswers, clock: FakeClock) -> None:
    busy = Process(clock, "b")
    busy.fail(1)
    view = await store.guards()
    assert await store.swap([asked(view.of("payments"), Vote("x", open=True), view.now)]) == [True]
    clock.advance(6)
    await busy.states.refresh(store)
    assert (await record(store)).revision == 1


async def test_without_a_change_nothing_is_written(store: LosesAnswers, clock: FakeClock) -> None:
    process = Process(clock, "a")
    await process.states.refresh(store)
    await process.states.ask(store, "payments")  # closed: it does not ask
    assert (await store.guards()).records == ()
    await open_it(store, clock)
    before = await record(store)
    process.fail()
    await process.states.ask(store, "payments")  # open for all already
    assert await record(store) == before


async def test_the_times_of_the_store_are_adopted_as_times_of_the_process(
    store: LosesAnswers, clock: FakeClock
) -> None:
    await open_it(store, clock)
    process = Process(clock, "a")
    await process.states.refresh(store)
    kept = await record(store)
    assert process.adopted == [SharedBreaker(1, True, kept.since + HERE, kept.probe_at + HERE)]
    assert process.view().why == "open for all processes"


async def test_one_process_gets_the_probe_and_the_others_learn_when_to_ask(
    store: LosesAnswers, clock: FakeClock
) -> None:
    await open_it(store, clock)
    processes = [Process(clock, name) for name in "abcd"]
    answers = await asyncio.gather(
        *(each.states.take(store, "payments", each.states.new_holder()) for each in processes)
    )
    until = clock.monotonic() + 10 + HERE
    assert sorted(answer.granted for answer, _ in answers) == [False, False, False, True]
    assert {answer.at for answer, _ in answers} == {until}
    assert [probe for _, probe in answers if probe is not None] == [HeldProbe("a.1", 2, until)]


async def test_a_probe_that_is_not_due_is_refused_until_it_is(store: LosesAnswers, clock: FakeClock) -> None:
    await open_it(store, clock)
    process = Process(clock, "a")
    _, probe = await process.states.take(store, "payments", "a.1")
    assert probe is not None
    await process.states.end(store, "payments", probe, "failure")
    answer, none = await process.states.take(store, "payments", "a.2")
    assert (answer, none) == (ProbeAnswer(False, clock.monotonic() + 5 + HERE), None)
    clock.advance(5)
    assert (await process.states.take(store, "payments", "a.2"))[0].granted


async def test_a_process_that_is_open_alone_has_a_probe_of_its_own(store: LosesAnswers, clock: FakeClock) -> None:
    process = Process(clock, "a")
    assert await process.states.take(store, "payments", "a.1") == (
        ProbeAnswer(True, clock.monotonic() + 10 + HERE), None
    )  # fmt: skip
    assert (await store.guards()).records == ()
    view = await store.guards()
    assert await store.swap([commanded(view.of("payments"), "open", view.now)]) == [True]
    answer, _ = await process.states.take(store, "payments", "a.2")
    assert not answer.granted


async def test_a_lost_answer_is_found_out(store: LosesAnswers, clock: FakeClock) -> None:
    await open_it(store, clock)
    process = Process(clock, "a")
    store.lost = 1
    answer, probe = await process.states.take(store, "payments", "a.1")
    assert (answer.granted, probe is not None, (await record(store)).generation) == (True, True, 2)
    store.lost = 1
    assert probe is not None
    await process.states.end(store, "payments", probe, "success")
    assert not (await record(store)).open
    assert process.view().state == "closed"


async def test_a_probe_that_came_too_late_is_given_back(store: LosesAnswers, clock: FakeClock) -> None:
    await open_it(store, clock)
    process = Process(clock, "a")
    await process.states.take(store, "payments", "a.1")
    await process.states.give_back(store, "payments", "a.9")
    assert (await record(store)).probe is not None
    await process.states.give_back(store, "payments", "a.1")
    kept = await record(store)
    assert (kept.open, kept.probe, kept.probe_at) == (True, None, clock.monotonic())


async def test_a_probe_that_is_renewed_is_nobody_elses_until_its_holder_is_gone(
    store: LosesAnswers, clock: FakeClock
) -> None:
    await open_it(store, clock)
    one, other = Process(clock, "a"), Process(clock, "b")
    _, probe = await one.states.take(store, "payments", "a.1")
    assert probe is not None
    for lost in (0, 1, 0):
        clock.advance(9)
        store.lost = lost
        renewed = await one.states.renew(store, "payments", probe)
        assert renewed == HeldProbe("a.1", probe.generation, clock.monotonic() + 10 + HERE)
        answer, _ = await other.states.take(store, "payments", "b.1")
        assert answer == ProbeAnswer(False, renewed.until)
    clock.advance(10)  # it was killed
    assert (await other.states.take(store, "payments", "b.2"))[0].granted
    before = await record(store)
    assert await one.states.renew(store, "payments", probe) is None
    assert await record(store) == before


async def test_a_late_report_changes_nothing(store: LosesAnswers, clock: FakeClock) -> None:
    await open_it(store, clock)
    one, other = Process(clock, "a"), Process(clock, "b")
    _, probe = await one.states.take(store, "payments", "a.1")
    assert probe is not None
    clock.advance(10)
    assert (await other.states.take(store, "payments", "b.1"))[0].granted
    before = await record(store)
    await one.states.end(store, "payments", probe, "success")
    assert await record(store) == before
    assert structs.replace(before, probe=None).open


async def test_guards_of_other_apps_are_none_of_its_business(store: LosesAnswers, clock: FakeClock) -> None:
    process = Process(clock, "a")
    view = await store.guards()
    assert await store.swap([commanded(view.of("mail"), "open", view.now)]) == [True]
    await process.states.refresh(store)
    assert process.adopted == []
