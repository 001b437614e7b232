"""The breaker of one process: when it opens, its one probe, its ramp, what counts for nothing, and the shared state."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from msgspec import structs

from outlast.core.errors import ConfigurationError
from outlast.core.guards.answers import PROBE_DUE, Admission, CallOutcome, Held, Refusal, SharedBreaker
from outlast.core.guards.breaker import LocalBreaker
from outlast.core.guards.policies import Breaker

TIMEOUT = 2.0


def breaker_of(timeout: float | None = TIMEOUT, **settings: Any) -> LocalBreaker:
    return LocalBreaker(Breaker(**({"minimum": 4} | settings)), 0.0, timeout)


def admitted(breaker: LocalBreaker, now: float) -> Admission:
    answer = breaker.admit(now)
    assert isinstance(answer, Admission)
    return answer


def refused(breaker: LocalBreaker, now: float) -> Refusal:
    answer = breaker.admit(now)
    assert isinstance(answer, Refusal)
    return answer


def call(breaker: LocalBreaker, outcome: CallOutcome, now: float, took: float = 0.0) -> str:
    return breaker.end(admitted(breaker, now - took), outcome, now)


def opened(now: float = 1.0, **settings: Any) -> LocalBreaker:
    """Return a breaker that opened at `now` on four failures."""
    breaker = breaker_of(**settings)
    assert [call(breaker, "failure", now) for _ in range(4)] == ["", "", "", "opened"]
    return breaker


def probing(breaker: LocalBreaker, now: float, until: float | None = None) -> Admission:
    assert breaker.admit(now) is PROBE_DUE
    probe = breaker.grant_probe(now, until)
    assert isinstance(probe, Admission)
    assert probe.probe
    return probe


def closed(now: float = 7.0, **settings: Any) -> LocalBreaker:
    """Return a breaker that a probe has closed at `now`."""
    breaker = opened(**settings)
    assert breaker.end(probing(breaker, now), "success", now) == "closed"
    return breaker


def state(breaker: LocalBreaker, now: float) -> tuple[str, float | None, float]:
    view = breaker.view(now)
    return view.state, view.next_probe, round(view.share, 3)


# Closed


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ("fff", False),
        ("ffff", True),
        ("sfsf", True),
        ("ssff", True),
        ("sssf", False),
        ("fffs", True),  # the success is the call that makes four
        ("nnnfnn", False),
        ("sssfff", True),
    ],
)
@pytest.mark.parametrize("window", ["30s", 50])
def test_it_opens_at_the_rate_of_failures_and_not_below_the_minimum(outcomes: str, opens: bool, window: Any) -> None:
    breaker = breaker_of(window=window)
    names: dict[str, CallOutcome] = {"f": "failure", "s": "success", "n": "neutral"}
    changes = [call(breaker, names[each], 1.0) for each in outcomes]
    assert changes == [""] * (len(outcomes) - 1) + ["opened" if opens else ""]
    assert breaker.view(1.0).state == ("open" if opens else "closed")


@pytest.mark.parametrize(("first", "took"), [("failure", 0.0), ("success", TIMEOUT)])
def test_one_bad_call_opens_it_when_good_ones_fill_the_minimum(first: CallOutcome, took: float) -> None:
    breaker = breaker_of(failure_rate=0.25)
    assert call(breaker, first, 9.0, took) == ""
    assert [call(breaker, "success", 9.0) for _ in range(3)] == ["", "", "opened"]


def test_slow_calls_open_it_as_failures_do() -> None:
    breaker = breaker_of(slow="1s", slow_rate=0.75)
    assert [call(breaker, "success", 9.0, took) for took in (1.0, 0.9, 1.0)] == ["", "", ""]
    assert call(breaker, "success", 9.0, 1.0) == "opened"
    assert breaker.view(9.0).why == "3 of 4 calls were slow"


def test_without_a_rate_of_their_own_slow_calls_are_judged_as_failures_are() -> None:
    breaker = breaker_of(failure_rate=0.75)
    assert [call(breaker, "success", 9.0, TIMEOUT) for _ in range(3)] == ["", "", ""]
    assert call(breaker, "success", 9.0, 0.1) == "opened"


def test_a_breaker_for_slow_calls_only_does_not_open_on_failures() -> None:
    breaker = breaker_of(failure_rate=None, slow_rate=1.0)
    assert {call(breaker, "failure", 1.0) for _ in range(20)} == {""}


def test_failures_that_have_left_the_window_open_nothing() -> None:
    breaker = breaker_of(window="10s")
    for now in (0.0, 0.5, 1.0):
        call(breaker, "failure", now)
    assert call(breaker, "failure", 12.0) == ""
    assert breaker.view(12.0).failures == 1
    assert [call(breaker, "success", 30.0) for _ in range(9)] == [""] * 9, "the failures before are forgotten"


def test_after_failures_have_gone_a_success_is_counted_without_a_judgement() -> None:
    breaker = breaker_of(window=4)
    for outcome in ("failure", "success", "success", "success", "success", "success"):
        call(breaker, outcome, 1.0)
    view = breaker.view(1.0)
    assert (view.calls, view.failures, view.slow, view.state) == (4, 0, 0, "closed")


def test_an_admission_that_ends_twice_counts_once() -> None:
    breaker = breaker_of()
    admission = admitted(breaker, 1.0)
    breaker.end(admission, "failure", 1.0)
    assert breaker.end(admission, "failure", 1.0) == ""
    assert (breaker.view(1.0).failures, breaker.stale) == (1, 1)


def test_admissions_are_equal_to_themselves_only() -> None:
    breaker = breaker_of()
    first, second = admitted(breaker, 1.0), admitted(breaker, 1.0)
    assert first != second
    breaker.end(first, "success", 1.0)
    assert breaker.view(1.0).in_flight == 1


# Calls that hang


def test_calls_that_never_return_open_it_within_the_slow_limit_and_one_tick() -> None:
    breaker = breaker_of(timeout=None, slow="3s", minimum=10)
    for number in range(20):
        admitted(breaker, number * 0.01)
    assert breaker.tick(2.99) == ""
    assert breaker.tick(3.99) == "opened"
    assert breaker.view(3.99).why == "20 of 20 calls were slow"
    assert breaker.view(3.99).in_flight == 20


def test_a_hanging_call_counts_once_however_it_ends() -> None:
    breaker = breaker_of(minimum=10)
    hanging = [admitted(breaker, 0.0) for _ in range(3)]
    assert [breaker.tick(now) for now in (2.0, 3.0, 4.0)] == ["", "", ""]
    assert breaker.view(4.0).slow == breaker.view(4.0).calls == 3
    outcomes: tuple[CallOutcome, ...] = ("success", "neutral", "failure")
    assert [breaker.end(each, outcome, 5.0) for each, outcome in zip(hanging, outcomes, strict=True)] == ["", "", ""]
    view = breaker.view(5.0)
    assert (view.calls, view.failures, view.slow, view.in_flight, view.stale) == (3, 1, 3, 0, 0)


def test_the_failure_of_a_call_that_hung_may_be_the_one_that_opens_it() -> None:
    breaker = breaker_of(failure_rate=0.5, slow_rate=1.0)
    hanging = [admitted(breaker, 0.0) for _ in range(2)]
    for _ in range(2):
        call(breaker, "success", 0.5)
    assert breaker.tick(2.5) == ""
    assert [breaker.end(each, "failure", 2.6) for each in hanging] == ["", "opened"]


def test_the_failure_of_a_call_that_hung_until_it_left_the_window_is_not_counted() -> None:
    breaker = breaker_of(window="10s", minimum=10)
    hanging = admitted(breaker, 0.0)
    breaker.tick(2.0)
    call(breaker, "success", 30.0)
    breaker.end(hanging, "failure", 30.0)
    view = breaker.view(30.0)
    assert (view.calls, view.failures, view.slow) == (1, 0, 0)


def test_a_tick_does_not_count_calls_that_are_not_slow_or_of_an_older_generation() -> None:
    breaker = breaker_of()
    old = admitted(breaker, 0.5)
    for _ in range(4):
        call(breaker, "failure", 1.0)
    before = breaker.view(1.0)
    assert breaker.tick(60.0) == ""
    assert (breaker.view(1.0).calls, breaker.view(1.0).slow) == (before.calls, before.slow)
    breaker.end(probing(breaker, 60.0), "success", 60.0)
    young = admitted(breaker, 60.0)
    assert breaker.tick(61.0) == ""
    assert (breaker.view(61.0).calls, breaker.view(61.0).in_flight) == (0, 2)
    assert breaker.end(old, "failure", 61.0) == ""
    assert (breaker.stale, breaker.view(61.0).failures) == (1, 0)
    assert breaker.end(young, "success", 61.0) == ""
    assert breaker.view(61.0).calls == 1


def test_without_a_limit_no_call_is_slow() -> None:
    breaker = breaker_of(timeout=None)
    admitted(breaker, 0.0)
    assert breaker.tick(1e9) == ""
    assert breaker.view(1e9).in_flight == 1
    with pytest.raises(ConfigurationError, match=r"Breaker\(slow_rate=0.5\).*give slow="):
        breaker_of(timeout=None, slow_rate=0.5)


# Open, and the probe


def test_while_it_is_open_no_call_is_made_and_each_is_told_when_to_try_again() -> None:
    breaker = opened(1.0)
    assert refused(breaker, 2.0) == Refusal(4.0, "4 of 4 calls failed")
    assert refused(breaker, 5.5).retry_after == 0.5
    assert state(breaker, 5.0) == ("open", 1.0, 0.0)
    assert breaker.view(5.0).since == 1.0


def test_one_caller_gets_the_probe_and_the_others_are_refused_until_it_has_ended() -> None:
    breaker = opened(1.0)
    assert breaker.admit(6.0) is PROBE_DUE
    assert refused(breaker, 6.0).retry_after == 5.0, "also before the probe has begun"
    probe = breaker.grant_probe(6.1)
    assert isinstance(probe, Admission)
    assert isinstance(breaker.grant_probe(6.1), Refusal)
    assert refused(breaker, 6.2).retry_after == 5.0
    assert refused(breaker, 15.1).retry_after == pytest.approx(1.0), "the lease of the probe ends before"
    assert state(breaker, 6.2) == ("half-open", 0.0, 0.0)
    assert breaker.view(6.2).in_flight == 1


def test_a_probe_that_fails_waits_for_the_next_interval() -> None:
    breaker = opened(1.0)
    assert breaker.end(probing(breaker, 6.0), "failure", 7.0) == "opened"
    assert refused(breaker, 7.0) == Refusal(5.0, "the last probe failed")
    assert breaker.view(7.0).since == 1.0, "it has been open since then"
    assert breaker.admit(12.0) is PROBE_DUE


def test_a_probe_that_succeeds_after_the_slow_limit_has_failed() -> None:
    breaker = opened(1.0)
    assert breaker.end(probing(breaker, 6.0), "success", 6.0 + TIMEOUT) == "opened"
    assert breaker.end(probing(breaker, 20.0), "success", 21.9) == "closed"


def test_a_neutral_probe_gives_its_place_back_and_moves_nothing() -> None:
    breaker = opened(1.0)
    before = breaker.view(6.0)
    assert breaker.end(probing(breaker, 6.0), "neutral", 6.0) == ""
    assert breaker.view(6.0) == before
    assert breaker.end(probing(breaker, 6.0), "success", 6.0) == "closed"


def test_the_result_of_a_probe_whose_lease_has_ended_changes_nothing() -> None:
    breaker = opened(1.0)
    late = probing(breaker, 6.0)
    assert breaker.end(late, "success", 16.0) == ""
    assert (breaker.stale, breaker.view(16.0).state) == (1, "open")
    assert breaker.admit(16.0) is PROBE_DUE


@pytest.mark.parametrize("ticked", [True, False])
def test_a_probe_that_hangs_is_replaced_after_its_lease(ticked: bool) -> None:
    breaker = opened(1.0)
    hanging = probing(breaker, 6.0)
    assert breaker.tick(15.9) == ""
    assert isinstance(refused(breaker, 15.9), Refusal)
    if ticked:
        breaker.tick(16.0)
        assert breaker.view(16.0).state == "open"
    probe = probing(breaker, 16.0)
    assert breaker.view(16.0).in_flight == 2
    assert breaker.end(hanging, "failure", 16.1) == ""
    assert (breaker.stale, breaker.view(16.1).state, breaker.view(16.1).in_flight) == (1, "half-open", 1)
    assert breaker.end(probe, "success", 16.2) == "closed"


def test_a_caller_that_is_gone_before_its_probe_begins_holds_up_no_other_longer_than_a_lease() -> None:
    breaker = opened(1.0)
    assert breaker.admit(6.0) is PROBE_DUE
    assert isinstance(breaker.admit(15.9), Refusal)
    assert breaker.admit(16.0) is PROBE_DUE


@pytest.mark.parametrize(("again_at", "due"), [(None, 11.0), (8.0, 8.0), (0.0, 6.0)])
def test_a_caller_may_pass_the_probe_on(again_at: float | None, due: float) -> None:
    breaker = opened(1.0)
    assert breaker.admit(6.0) is PROBE_DUE
    breaker.pass_probe(6.0, again_at)
    assert breaker.view(6.0).next_probe == due - 6.0
    assert breaker.admit(due) is PROBE_DUE


def test_a_probe_that_is_out_and_a_closed_breaker_cannot_be_passed_on() -> None:
    breaker = opened(1.0)
    probe = probing(breaker, 6.0)
    breaker.pass_probe(6.0, again_at=6.5)
    assert isinstance(breaker.admit(7.0), Refusal)
    breaker.end(probe, "success", 7.0)
    breaker.pass_probe(7.0)
    assert state(breaker, 7.0) == ("closed", None, 0.1)


def test_a_probe_ends_with_the_lease_that_the_store_gave() -> None:
    breaker = opened(1.0)
    assert breaker.end(probing(breaker, 6.0, until=7.0), "success", 7.0) == ""
    assert breaker.stale == 1


def test_a_probe_that_is_granted_when_it_has_closed_is_an_ordinary_call() -> None:
    breaker = opened(1.0)
    assert breaker.admit(6.0) is PROBE_DUE
    breaker.adopt(SharedBreaker(1, False, 6.0, inf, closed_at=6.0), 6.0)
    answer = breaker.grant_probe(6.1)
    assert isinstance(answer, Admission)
    assert not answer.probe
    assert breaker.end(answer, "success", 6.2) == ""
    assert breaker.view(6.2).calls == 1


def test_results_of_calls_that_began_before_it_opened_count_for_nothing() -> None:
    breaker = breaker_of()
    before = [admitted(breaker, 1.0) for _ in range(3)]
    for _ in range(4):
        call(breaker, "failure", 1.0)
    assert breaker.end(before[0], "success", 2.0) == ""
    breaker.end(probing(breaker, 6.0), "success", 6.0)
    assert breaker.end(before[1], "failure", 6.0) == breaker.end(before[2], "neutral", 6.0) == ""
    view = breaker.view(6.0)
    assert (view.calls, view.failures, view.stale, view.in_flight) == (0, 0, 3, 0)


# After it has closed


def test_after_closing_a_growing_share_of_the_calls_is_made() -> None:
    breaker = closed(7.0)
    made = [isinstance(breaker.admit(7.0), Admission) for _ in range(31)]
    assert sum(made) == 4
    assert made[0], "a call that is alone is not refused"
    halfway = sum(isinstance(breaker.admit(12.0), Admission) for _ in range(100))
    assert 54 <= halfway <= 56
    assert state(breaker, 12.0) == ("closed", None, 0.55)
    assert all(isinstance(breaker.admit(17.0), Admission) for _ in range(100))


def test_a_refusal_of_the_ramp_asks_to_try_again_soon() -> None:
    breaker = closed(7.0)
    admitted(breaker, 7.0)
    assert refused(breaker, 7.0).retry_after == 1.0
    assert 0 < next(each.retry_after for _ in range(99) if isinstance(each := breaker.admit(16.9), Refusal)) < 0.2


def test_without_a_ramp_every_call_is_made_at_once() -> None:
    breaker = closed(7.0, ramp=0)
    assert all(isinstance(breaker.admit(7.0), Admission) for _ in range(100))


def test_what_failed_before_it_opened_is_forgotten_when_it_closes() -> None:
    breaker = closed(7.0)
    assert breaker.view(7.0).failures == 0
    assert [call(breaker, "failure", 20.0) for _ in range(4)] == ["", "", "", "opened"]


def test_it_opens_within_the_ramp_too() -> None:
    breaker = closed(7.0)
    admissions = [each for _ in range(40) if isinstance(each := breaker.admit(7.5), Admission)]
    assert len(admissions) > 4
    assert [breaker.end(each, "failure", 7.5) for each in admissions[:4]] == ["", "", "", "opened"]


def test_the_second_ramp_begins_like_the_first() -> None:
    breaker = closed(7.0)
    for _ in range(15):
        breaker.admit(7.0)
    breaker.hold("open", 8.0)
    breaker.hold("", 9.0)
    assert [isinstance(breaker.admit(9.0), Admission) for _ in range(3)] == [True, False, False]


# By hand


def test_held_open_it_makes_no_call_and_no_probe() -> None:
    breaker = breaker_of()
    out = admitted(breaker, 0.0)
    assert breaker.hold("open", 1.0) == "opened"
    assert refused(breaker, 1e6) == Refusal(5.0, "opened by an operator")
    assert isinstance(breaker.grant_probe(1e6), Refusal)
    assert breaker.end(out, "success", 2.0) == ""
    assert breaker.stale == 1
    assert state(breaker, 1e6) == ("open", None, 0.0)
    assert breaker.view(1.0).held == "open"
    assert breaker.hold("open", 2.0) == ""


def test_held_closed_it_makes_all_calls_whatever_they_do() -> None:
    breaker = opened(1.0)
    assert breaker.hold("closed", 2.0) == "closed"
    assert state(breaker, 2.0) == ("closed", None, 1.0)
    for now in range(3, 30):
        assert call(breaker, "failure", float(now)) == ""
    for _ in range(9):
        admitted(breaker, 30.0)
    assert breaker.tick(33.0) == ""
    assert breaker.view(33.0).failures > 4


def test_held_closed_within_its_ramp_it_makes_all_calls() -> None:
    breaker = closed(7.0)
    assert breaker.hold("closed", 7.0) == ""
    assert all(isinstance(breaker.admit(7.0), Admission) for _ in range(100))
    assert breaker.view(7.0).share == 1.0


def test_given_back_it_begins_with_an_empty_window_and_with_a_ramp_if_it_was_open() -> None:
    breaker = breaker_of()
    breaker.hold("closed", 0.0)
    for _ in range(9):
        call(breaker, "failure", 1.0)
    assert breaker.hold("", 1.0) == ""
    assert breaker.view(1.0).calls == 0
    assert state(breaker, 1.0) == ("closed", None, 1.0)
    assert call(breaker, "failure", 1.0) == ""
    breaker.hold("open", 2.0)
    assert breaker.hold("", 3.0) == "closed"
    assert state(breaker, 3.0) == ("closed", None, 0.1)
    assert breaker.view(3.0).held == ""


@pytest.mark.parametrize("window", ["30s", 4])
@pytest.mark.parametrize("held", ["", "closed"])
def test_a_call_that_hung_when_the_window_was_emptied_counts_for_nothing(window: Any, held: Held) -> None:
    breaker = breaker_of(window=window)
    hanging = admitted(breaker, 0.0)
    breaker.tick(2.0)
    breaker.hold(held, 2.0)
    assert breaker.end(hanging, "failure", 2.0) == ""
    view = breaker.view(2.0)
    assert (view.calls, view.failures, view.slow, view.stale) == (0, 0, 0, 1)


def test_only_a_closed_breaker_without_calls_and_ramp_is_idle() -> None:
    breaker = breaker_of()
    assert breaker.idle(0.0)
    admission = admitted(breaker, 0.0)
    assert not breaker.idle(0.0)
    breaker.tick(5.0)
    assert not breaker.idle(5.0), "the call hangs"
    breaker.end(admission, "success", 5.0)
    assert breaker.idle(5.0)
    breaker.hold("closed", 5.0)
    assert not breaker.idle(5.0)
    breaker.hold("open", 5.0)
    assert not breaker.idle(5.0)
    breaker.hold("", 5.0)
    assert not breaker.idle(6.0), "it ramps"
    assert breaker.idle(15.0)


# The state of all processes


def shared(generation: int, since: float = 1.0, probe_at: float = 6.0, **more: Any) -> SharedBreaker:
    return SharedBreaker(generation, True, since, probe_at, **more)


def reclosed(generation: int, closed_at: float | None, **more: Any) -> SharedBreaker:
    return SharedBreaker(generation, False, closed_at or 0.0, 0.0, closed_at=closed_at, **more)


def test_a_process_that_starts_while_it_is_open_makes_no_call_and_moves_no_time() -> None:
    breaker = breaker_of()
    assert breaker.adopt(shared(3, since=-40.0, probe_at=4.0), 0.0) == "opened"
    assert refused(breaker, 1.0) == Refusal(3.0, "open for all processes")
    assert (breaker.view(1.0).since, breaker.shared) == (-40.0, True)
    assert breaker.admit(4.0) is PROBE_DUE


def test_a_process_that_starts_in_the_ramp_of_the_others_ramps_with_them() -> None:
    breaker = breaker_of()
    assert breaker.adopt(reclosed(4, -5.0), 0.0) == ""
    assert state(breaker, 0.0) == ("closed", None, 0.55)
    assert breaker.adopt(reclosed(4, -5.0), 1.0) == ""
    late = breaker_of()
    late.adopt(reclosed(4, -500.0), 0.0)
    assert all(isinstance(late.admit(0.0), Admission) for _ in range(20))


def test_it_opens_and_closes_with_the_others() -> None:
    breaker = breaker_of()
    out = admitted(breaker, 1.0)
    assert breaker.adopt(shared(1), 1.5) == "opened"
    assert breaker.end(out, "success", 2.0) == ""
    assert breaker.stale == 1
    assert breaker.adopt(reclosed(3, 6.2), 6.5) == "closed"
    assert (breaker.view(6.5).state, breaker.shared) == ("closed", False)
    assert breaker.view(6.5).share == pytest.approx(0.127)


def test_an_older_state_changes_nothing() -> None:
    breaker = breaker_of()
    breaker.adopt(shared(5), 1.0)
    assert breaker.adopt(reclosed(4, 0.5), 1.1) == ""
    assert breaker.view(1.1).state == "open"


def test_a_process_that_opened_alone_stays_open_while_the_others_are_closed() -> None:
    breaker = breaker_of()
    breaker.adopt(reclosed(7, None), 0.0)
    for _ in range(4):
        call(breaker, "failure", 1.0)
    assert breaker.adopt(reclosed(7, None), 1.5) == ""
    assert breaker.adopt(reclosed(8, 0.5), 1.5) == "", "an end of an opening before its own"
    assert (breaker.view(1.5).state, breaker.shared) == ("open", False)
    assert breaker.end(probing(breaker, 6.0), "success", 6.0) == "closed", "its own probe decides"


def test_a_process_that_opened_alone_closes_with_the_next_opening_that_the_others_end() -> None:
    breaker = opened(1.0)
    assert breaker.adopt(reclosed(9, 3.0), 3.0) == "closed"
    assert state(breaker, 3.0) == ("closed", None, 0.1)


def test_a_process_that_opened_alone_closes_with_a_reset_by_hand_and_the_others_lose_no_call() -> None:
    reset = structs.replace(reclosed(8, None), reset_at=3.0)
    alone, other, later = opened(1.0), breaker_of(), opened(3.5)
    assert (alone.adopt(reset, 3.1), other.adopt(reset, 3.1), later.adopt(reset, 3.6)) == ("closed", "", "")
    assert state(alone, 3.0) == ("closed", None, 0.1)
    assert state(other, 3.1) == ("closed", None, 1.0)
    assert later.view(3.6).state == "open"


def test_a_reset_soon_after_a_close_by_hand_makes_all_calls() -> None:
    breaker = breaker_of()
    breaker.adopt(shared(1), 1.0)
    breaker.adopt(structs.replace(reclosed(2, 2.0), held="closed"), 2.0)
    assert state(breaker, 2.0) == ("closed", None, 1.0)
    breaker.adopt(structs.replace(reclosed(3, None), reset_at=3.0), 3.0)
    assert state(breaker, 3.0) == ("closed", None, 1.0)


def test_a_process_that_opened_alone_follows_the_vote_of_the_others() -> None:
    breaker = opened(1.0)
    alone = probing(breaker, 6.0)
    assert breaker.adopt(shared(1, since=6.5, probe_at=11.5), 7.0) == ""
    assert breaker.shared
    assert breaker.end(alone, "success", 7.5) == "", "the store gives the probe now"
    assert breaker.stale == 1
    assert refused(breaker, 7.5).retry_after == 4.0


def test_taking_the_probe_is_a_change_of_the_shared_state_and_does_not_end_the_probe() -> None:
    breaker = breaker_of()
    breaker.adopt(shared(1), 1.0)
    assert breaker.admit(6.0) is PROBE_DUE
    breaker.adopt(shared(2, probe_at=16.0), 6.0)
    assert isinstance(breaker.admit(6.0), Refusal)
    probe = breaker.grant_probe(6.1, until=16.0)
    assert isinstance(probe, Admission)
    breaker.adopt(shared(2, since=1.3, probe_at=16.0), 6.2)
    assert breaker.end(probe, "success", 6.3) == "closed"


def test_a_state_that_was_read_before_the_probe_ended_does_not_open_it_again() -> None:
    breaker = breaker_of()
    breaker.adopt(shared(1), 1.0)
    assert breaker.end(probing(breaker, 6.0, until=16.0), "success", 6.2) == "closed"
    assert breaker.adopt(shared(2, since=1.2, probe_at=16.0), 6.3) == ""
    assert breaker.view(6.3).state == "closed"
    assert breaker.adopt(shared(4, since=7.0, probe_at=12.0), 7.1) == "opened", "a new opening"


def test_a_store_that_has_not_taken_the_result_of_the_probe_is_believed_after_its_lease() -> None:
    breaker = breaker_of()
    breaker.adopt(shared(1), 1.0)
    breaker.end(probing(breaker, 6.0, until=8.0), "success", 6.2)
    assert breaker.adopt(shared(2, probe_at=8.0), 7.9) == ""
    assert breaker.adopt(shared(2, probe_at=8.0), 8.0) == "opened"


def test_a_probe_of_an_earlier_opening_does_not_decide_the_next_one() -> None:
    breaker = breaker_of()
    breaker.adopt(shared(1), 1.0)
    probe = probing(breaker, 6.0)
    assert breaker.adopt(shared(5, since=9.0, probe_at=14.0), 9.0) == ""
    assert breaker.end(probe, "success", 9.5) == ""
    assert (breaker.stale, breaker.view(9.5).next_probe) == (1, 4.5)


def test_the_closing_that_its_own_probe_caused_goes_on_with_the_same_ramp() -> None:
    breaker = breaker_of()
    breaker.adopt(shared(1), 1.0)
    breaker.end(probing(breaker, 6.0), "success", 6.2)
    admitted(breaker, 6.2)
    assert breaker.adopt(reclosed(3, 6.25), 6.3) == ""
    assert isinstance(breaker.admit(6.3), Refusal), "its credit is used"


def test_a_closing_after_an_opening_that_it_has_missed_begins_a_ramp_of_its_own() -> None:
    breaker = closed(7.0)
    admitted(breaker, 17.0)
    assert breaker.adopt(reclosed(9, 20.0), 20.0) == ""
    assert [isinstance(breaker.admit(20.0), Admission) for _ in range(3)] == [True, False, False]


def test_the_same_closing_does_not_close_a_process_that_opens_alone_after_it() -> None:
    breaker = breaker_of()
    breaker.adopt(reclosed(9, 5.1), 5.0)
    for _ in range(4):
        admission = breaker.grant_probe(5.0)
        assert isinstance(admission, Admission)
        breaker.end(admission, "failure", 5.0)
    assert breaker.adopt(reclosed(9, 5.1), 5.2) == ""
    assert breaker.view(5.2).state == "open"


def test_a_store_that_has_lost_the_state_leaves_the_breaker_to_itself() -> None:
    breaker = breaker_of()
    breaker.adopt(shared(50), 1.0)
    assert breaker.adopt(reclosed(0, None), 10.9) == "", "it may be an old read"
    assert breaker.shared
    assert breaker.adopt(reclosed(0, None), 11.0) == ""
    assert (breaker.view(11.0).state, breaker.shared) == ("open", False)
    assert breaker.end(probing(breaker, 11.0), "success", 11.0) == "closed"
    assert breaker.adopt(shared(1, since=12.0, probe_at=17.0), 12.0) == "opened"


def test_an_operator_holds_all_processes() -> None:
    breaker = breaker_of()
    assert breaker.adopt(shared(1, held="open"), 1.0) == "opened"
    assert refused(breaker, 9.0).why == "opened by an operator"
    assert breaker.adopt(shared(1, held="open"), 9.0) == ""
    assert breaker.adopt(reclosed(2, None, held="closed"), 9.0) == "closed"
    assert {call(breaker, "failure", 9.0) for _ in range(9)} == {""}
    assert breaker.adopt(reclosed(3, 20.0), 20.0) == ""
    assert (breaker.view(20.0).held, breaker.view(20.0).share) == ("", 0.1)
    assert breaker.adopt(shared(4, since=21.0, probe_at=26.0), 21.0) == "opened"


def test_a_hold_that_ends_while_the_shared_state_is_open_leaves_it_open() -> None:
    breaker = breaker_of()
    breaker.adopt(shared(1, held="open"), 1.0)
    assert breaker.adopt(shared(2, since=1.0, probe_at=3.0), 2.0) == ""
    assert breaker.shared
    assert breaker.admit(3.0) is PROBE_DUE


def test_an_operator_is_obeyed_also_right_after_a_probe() -> None:
    breaker = breaker_of()
    breaker.adopt(shared(1), 1.0)
    breaker.end(probing(breaker, 6.0), "success", 6.2)
    assert breaker.adopt(shared(4, held="open"), 6.3) == "opened"


def test_an_admission_is_the_probe_until_its_lease_ends_or_it_does() -> None:
    breaker = LocalBreaker(Breaker(minimum=1, window=1, open_for=1, probe_lease=10), 0.0)
    first = breaker.admit(0.0)
    assert isinstance(first, Admission)
    assert not breaker.is_probe(first, 0.0)
    breaker.end(first, "failure", 0.0)
    assert breaker.admit(1.0) is PROBE_DUE
    probe = breaker.grant_probe(1.0)
    assert isinstance(probe, Admission)
    assert breaker.is_probe(probe, 10.9)
    assert not breaker.is_probe(probe, 11.0)
    assert not breaker.is_probe(first, 1.0)
    breaker.end(probe, "neutral", 2.0)
    assert not breaker.is_probe(probe, 2.0)


def test_what_is_held_here_is_held_whatever_the_others_do_until_it_is_given_back() -> None:
    breaker = breaker_of()
    breaker.hold("open", 0.0)
    breaker.adopt(reclosed(4, -5.0), 1.0)
    assert (breaker.view(1.0).held, breaker.view(1.0).state) == ("open", "open")
    breaker.hold("closed", 2.0)
    breaker.adopt(shared(5, since=2.0, probe_at=7.0), 3.0)
    assert breaker.view(3.0).state == "closed"
    assert breaker.hold("", 4.0) == "opened"
    assert refused(breaker, 4.0) == Refusal(3.0, "open for all processes")


@pytest.mark.parametrize("before", [True, False])
def test_what_is_given_back_here_is_held_as_an_operator_holds_it(before: bool) -> None:
    breaker = breaker_of()
    held = shared(5, since=1.0, held="open")
    if before:
        breaker.adopt(held, 1.0)
    breaker.hold("closed", 2.0)
    if not before:
        breaker.adopt(held, 3.0)
    assert breaker.view(3.0).held == "closed"
    assert breaker.hold("", 4.0) == "opened"
    assert breaker.view(4.0).held == "open"
    assert breaker.adopt(reclosed(6, 5.0), 5.0) == "closed"
