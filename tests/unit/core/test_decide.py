"""decide: every row of what becomes of a run."""

from __future__ import annotations

from asyncio import CancelledError
from random import Random
from typing import Any

import pytest
from msgspec import Raw, Struct, structs

from outlast.core.backoff import Constant
from outlast.core.control_flow import GiveUp, Snooze
from outlast.core.decide import (
    UNRUNNABLE,
    Aborted,
    CancelledRun,
    Crashed,
    Expired,
    Failed,
    Invalid,
    Outcome,
    Snoozed,
    Succeeded,
    TimedOut,
    Unfetched,
    UnknownKind,
    Unrunnable,
    admit,
    decide,
    runs_alone,
)
from outlast.core.errors import BulkheadFull, ConfigurationError, DeadlinePassed, GuardError, GuardOpen, GuardRefused
from outlast.core.message import Delivery, Fence
from outlast.core.policy import DEFAULTS, Policy, Retry
from outlast.core.settlement import Finish, Park, Release, Settlement
from outlast.core.settlement import Reschedule as Again
from tests.support.jobs import failure, message

NOW = 1_000.0
FENCE = Fence("q.1", "q", 7, 3)
LOST = failure(1)
POLICY = Policy(retry=Retry(attempts=3, backoff=Constant(10)), result_ttl=77.0)


def delivery(attempt: int = 1, crashes: int = 0, *, run_at: float = NOW, expires: float | None = None) -> Delivery:
    return Delivery(message("q.1", run_at, expires=expires), FENCE, attempt, crashes)


def settled(outcome: Outcome, given: Delivery | None = None, policy: Policy = POLICY) -> Settlement:
    return decide(given or delivery(), outcome, policy, NOW, Random(1))


FOLLOW_UP = message("q.2", NOW)
NO_KIND, NO_PROCESS = (structs.replace(failure(1), type=each) for each in UNRUNNABLE)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Succeeded(), Finish(FENCE, "succeeded", None, None, None, (), 77.0, kind="send")),
        (
            Succeeded(Raw(b"1"), (FOLLOW_UP,)),
            Finish(FENCE, "succeeded", None, Raw(b"1"), None, (FOLLOW_UP,), 77.0, kind="send"),
        ),
        (Failed(ValueError("x"), LOST), Again(FENCE, NOW + 10, 2, LOST)),
        (TimedOut(LOST), Again(FENCE, NOW + 10, 2, LOST)),
        (Crashed(LOST, solo=False), Again(FENCE, NOW + 10, 2, LOST)),
        (Crashed(LOST, solo=True), Finish(FENCE, "dead", "poison", error=LOST)),
        (Invalid(LOST), Finish(FENCE, "dead", "invalid-arguments", error=LOST)),
        (Unfetched(LOST, "object-missing"), Finish(FENCE, "dead", "object-missing", error=LOST)),
        (Unfetched(LOST, "object-damaged"), Finish(FENCE, "dead", "object-damaged", error=LOST)),
        (Snoozed(30), Again(FENCE, NOW + 30, 1)),
        (CancelledRun(), Finish(FENCE, "cancelled", "cancelled")),
        (Aborted("draining"), Release(FENCE, why="draining", begun=True)),
        (Aborted("draining", begun=False), Release(FENCE, why="draining")),
        (Expired(), Finish(FENCE, "expired", "expired")),
        (UnknownKind(), Park(FENCE, NOW + DEFAULTS.park)),
        (Unrunnable(NO_PROCESS, 0), Again(FENCE, NOW + 5, 1, NO_PROCESS, begun=False)),
        (Unrunnable(NO_PROCESS, 2), Again(FENCE, NOW + 20, 1, NO_PROCESS, begun=False)),
        (Unrunnable(NO_PROCESS, 2000), Again(FENCE, NOW + 300, 1, NO_PROCESS, begun=False)),
        (Unrunnable(NO_KIND, 7), Again(FENCE, NOW + 300, 1, NO_KIND, begun=False)),
        (Unrunnable(NO_KIND, 8), Finish(FENCE, "dead", "kind-missing", error=NO_KIND)),
    ],
)
def test_every_outcome(outcome: Outcome, expected: Settlement) -> None:
    assert settled(outcome) == expected


@pytest.mark.parametrize(("waited", "parked"), [(-60, 5), (0, 5), (8, 5), (40, 20), (599, 299.5), (86_400, 300)])
def test_a_job_of_an_unknown_kind_is_offered_again_the_later_the_longer_it_has_waited(
    waited: float, parked: float
) -> None:
    assert settled(UnknownKind(), delivery(run_at=NOW - waited)) == Park(FENCE, NOW + parked)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Failed(ValueError("x"), LOST), "attempts"),
        (TimedOut(LOST), "timeout"),
        (Crashed(LOST, solo=False), "crash"),
    ],
)
def test_the_last_attempt_is_dead_for_its_reason(outcome: Outcome, reason: str) -> None:
    assert settled(outcome, delivery(2)) == Again(FENCE, NOW + 10, 3, LOST)
    assert settled(outcome, delivery(3)) == Finish(FENCE, "dead", reason, error=LOST)
    assert settled(outcome, delivery(4)) == Finish(FENCE, "dead", reason, error=LOST)


GAVE_UP = Finish(FENCE, "dead", "gave-up", error=LOST)


def test_give_up_ends_at_once() -> None:
    assert settled(Failed(GiveUp("enough"), LOST)) == GAVE_UP


def test_give_up_on_wins_over_retry_on() -> None:
    retry = Retry(retry_on=(LookupError,), give_up_on=(KeyError,), backoff=Constant(1))
    policy = Policy(retry=retry)
    assert settled(Failed(KeyError("x"), LOST), policy=policy) == GAVE_UP
    assert settled(Failed(IndexError("x"), LOST), policy=policy) == Again(FENCE, NOW + 1, 2, LOST)
    assert settled(Failed(ValueError("x"), LOST), policy=policy) == GAVE_UP


class Many(ExceptionGroup[Exception]):
    """A group class of a user's own."""


def refuses(_: object) -> type:
    raise KeyboardInterrupt


# A group that shows other parts than it has, and no class.
Unlike: Any = type("Unlike", (ExceptionGroup,), {"exceptions": (), "__class__": property(refuses)})


def raised_from_give_up() -> ValueError:
    error = ValueError("x")
    error.__cause__ = GiveUp("enough")
    error.__context__ = Snooze(9)
    return error


def shared_group(depth: int) -> ExceptionGroup[Exception]:
    """Return a group whose only error stands in it 2**depth times."""
    group: ExceptionGroup[Exception] = ExceptionGroup("", [LookupError("x")])
    for _ in range(depth):
        group = ExceptionGroup("", [group, group])
    return group


def deep_group(error: BaseException, depth: int = 20_000) -> BaseException:
    for _ in range(depth):
        error = BaseExceptionGroup("", [error])
    return error


RETRIED = Again(FENCE, NOW + 10, 2, LOST)
SNOOZED = Again(FENCE, NOW + 30, 1)
LISTED = Retry(retry_on=(LookupError,), give_up_on=(KeyError,), backoff=Constant(10))
BY_CLASS = Retry(retry_on=(Many,), give_up_on=(KeyError, Unlike), backoff=Constant(10))
NEVER = Retry(give_up_on=(Exception,), backoff=Constant(10))
EVERY = POLICY.retry


@pytest.mark.parametrize(
    ("error", "retry", "expected"),
    [
        # One exception, alone or in a group, has the same verdict.
        *(
            (wrapped(error), retry, expected)
            for wrapped in (
                lambda error: error,
                lambda error: BaseExceptionGroup("g", [error]),
                lambda error: BaseExceptionGroup("g", [BaseExceptionGroup("h", [error]), error]),
                deep_group,
            )
            for error, retry, expected in (
                (ValueError("x"), EVERY, RETRIED),
                (GiveUp("x"), EVERY, GAVE_UP),
                (Snooze(30), EVERY, SNOOZED),
                (Snooze(30), LISTED, SNOOZED),
                (Snooze(30), NEVER, SNOOZED),
                (IndexError("x"), LISTED, RETRIED),
                (KeyError("x"), LISTED, GAVE_UP),
                (ValueError("x"), LISTED, GAVE_UP),
                (ValueError("x"), NEVER, GAVE_UP),
                # By the rules for RuntimeError: its class says nothing about the job.
                (SystemExit(1), EVERY, RETRIED),
                (GeneratorExit(), EVERY, RETRIED),
                (CancelledError(), LISTED, GAVE_UP),
                (SystemExit(1), Retry(retry_on=(RuntimeError,), backoff=Constant(10)), RETRIED),
                (ValueError("x"), Retry(retry_on=(RuntimeError,)), GAVE_UP),
                (KeyboardInterrupt(), Retry(retry_on=(KeyboardInterrupt,), backoff=Constant(10)), RETRIED),
                (KeyboardInterrupt(), Retry(give_up_on=(KeyboardInterrupt,)), GAVE_UP),
                (raised_from_give_up(), EVERY, RETRIED),
            )
        ),
        # Giving up wins over a retry, a retry over a snooze; of several snoozes the longest counts.
        (ExceptionGroup("g", [ValueError("x"), GiveUp("x")]), EVERY, GAVE_UP),
        (ExceptionGroup("g", [GiveUp("x"), Snooze(30)]), EVERY, GAVE_UP),
        (ExceptionGroup("g", [Snooze(30), ExceptionGroup("h", [GiveUp("x")])]), EVERY, GAVE_UP),
        (ExceptionGroup("g", [Snooze(30), ValueError("x")]), EVERY, RETRIED),
        (ExceptionGroup("g", [ValueError("x"), ExceptionGroup("h", [Snooze(30)])]), EVERY, RETRIED),
        (BaseExceptionGroup("g", [CancelledError(), Snooze(30)]), EVERY, RETRIED),
        (BaseExceptionGroup("g", [KeyboardInterrupt(), GiveUp("x")]), EVERY, GAVE_UP),
        (ExceptionGroup("g", [Snooze(30), Snooze(2), ExceptionGroup("h", [Snooze(7)])]), EVERY, SNOOZED),
        (ExceptionGroup("g", [IndexError("x"), ValueError("x")]), LISTED, GAVE_UP),
        (ExceptionGroup("g", [IndexError("x"), KeyError("x")]), LISTED, GAVE_UP),
        # A group that is listed by its own class counts as a whole.
        (Many("g", [ValueError("x")]), BY_CLASS, RETRIED),
        (ExceptionGroup("g", [Many("h", [ValueError("x")])]), BY_CLASS, RETRIED),
        (ExceptionGroup("g", [Many("h", [ValueError("x")]), ValueError("x")]), BY_CLASS, GAVE_UP),
        (Many("g", [ValueError("x"), ExceptionGroup("h", [KeyError("x")])]), BY_CLASS, GAVE_UP),
        (Many("g", [ValueError("x"), GiveUp("x")]), BY_CLASS, GAVE_UP),
        (Many("g", [Snooze(30)]), BY_CLASS, SNOOZED),
        (shared_group(60), LISTED, RETRIED),
    ],
)
def test_each_exception_in_a_group_counts_as_if_it_were_raised_alone(
    error: BaseException, retry: Retry, expected: Settlement
) -> None:
    assert settled(Failed(error, LOST), policy=Policy(retry=retry)) == expected


def test_what_an_exception_shows_of_itself_may_be_anything() -> None:
    policies = [Policy(retry=retry) for retry in (BY_CLASS, EVERY, EVERY)]
    errors = [Unlike("g", [LookupError("x")]), Unlike("g", [GiveUp("x")]), Unlike("g", [ValueError("x")])]
    found = [settled(Failed(error, LOST), policy=policy) for error, policy in zip(errors, policies, strict=True)]
    assert found == [GAVE_UP, GAVE_UP, RETRIED]


def test_a_snooze_in_a_group_must_have_a_duration() -> None:
    snooze = Snooze(1)
    snooze.seconds = float("nan")
    with pytest.raises(ConfigurationError, match=r"Snooze\(seconds\)=nan"):
        settled(Failed(ExceptionGroup("g", [snooze]), LOST))


class Broken(Struct, frozen=True):
    """A backoff of a user's own that gives no time."""

    wait: float

    def delay(self, attempt: int, rng: Random) -> float:
        return self.wait


@pytest.mark.parametrize("wait", [float("inf"), float("nan"), -1.0, 1e300])
def test_a_backoff_that_gives_no_time_is_refused_before_a_store_hears_of_it(wait: float) -> None:
    with pytest.raises(ConfigurationError, match="the delay of Broken="):
        settled(TimedOut(LOST), policy=Policy(retry=Retry(backoff=Broken(wait))))


def test_no_attempt_starts_after_the_budget() -> None:
    policy = Policy(retry=Retry(backoff=Constant(10), within=60))
    within = delivery(run_at=NOW - 50)
    over = delivery(run_at=NOW - 51)
    assert settled(TimedOut(LOST), within, policy) == Again(FENCE, NOW + 10, 2, LOST)
    assert settled(TimedOut(LOST), over, policy) == Finish(FENCE, "dead", "budget", error=LOST)


def test_a_run_that_ended_starts_the_crash_count_anew() -> None:
    assert settled(TimedOut(LOST), delivery(crashes=1)) == Again(FENCE, NOW + 10, 2, LOST, crashes=0)
    assert settled(Snoozed(1), delivery(crashes=1)) == Again(FENCE, NOW + 1, 1, crashes=0)


def test_a_job_that_had_to_run_alone_goes_on_running_alone() -> None:
    crashes = DEFAULTS.solo_after_crashes
    assert settled(TimedOut(LOST), delivery(crashes=crashes)) == Again(FENCE, NOW + 10, 2, LOST, crashes=crashes)
    assert settled(Snoozed(1), delivery(crashes=crashes)) == Again(FENCE, NOW + 1, 1, crashes=crashes)


def test_alone_after_the_second_crash() -> None:
    assert [runs_alone(delivery(crashes=n)) for n in range(4)] == [False, False, True, True]


def test_what_is_no_outcome_is_refused() -> None:
    with pytest.raises(AssertionError):
        settled("done")  # type: ignore[arg-type]


def test_admit_refuses_what_is_past_its_time_to_start() -> None:
    assert admit(delivery(), NOW) is None
    assert admit(delivery(expires=10), NOW + 9) is None
    assert admit(delivery(expires=10), NOW + 10) == Expired()


def test_a_job_that_has_begun_is_admitted_until_it_ends() -> None:
    assert admit(structs.replace(delivery(expires=10), begun=True), NOW + 99) is None


# A guard that refused a call


OPEN = GuardOpen("payments", 4.0, "5 of 10 calls failed")
FULL = BulkheadFull("files", 20)


def refused(error: BaseException, policy: Policy = POLICY, given: Delivery | None = None) -> Settlement:
    return settled(Failed(error, LOST), given, policy)


@pytest.mark.parametrize(("error", "guard", "after"), [(OPEN, "payments", 4.0), (FULL, "files", 1.0)])
def test_a_refused_call_puts_the_job_off_until_the_guard_may_let_one_through(
    error: GuardRefused, guard: str, after: float
) -> None:
    given = delivery(3, 2, run_at=NOW - 1e6)
    settlements = [
        decide(given, Failed(error, LOST), Policy(retry=Retry(attempts=3, within=60)), NOW, Random(seed))
        for seed in range(200)
    ]
    ats = [each.at for each in settlements if isinstance(each, Release) and each.at is not None]
    assert len(ats) == 200
    assert NOW + after <= min(ats) < NOW + after * 1.05
    assert NOW + after * 1.95 < max(ats) <= NOW + after * 2
    assert settlements[0] == Release(FENCE, ats[0], f"waits for {guard}", begun=True, guard=guard)


def test_the_spread_is_at_least_a_second() -> None:
    soon = [decide(delivery(), Failed(GuardOpen("g", 0.0, ""), LOST), POLICY, NOW, Random(seed)) for seed in range(99)]
    ats = [each.at - NOW for each in soon if isinstance(each, Release) and each.at is not None]
    assert min(ats) < 0.1
    assert 0.9 < max(ats) <= 1


@pytest.mark.parametrize(
    "error",
    [
        ExceptionGroup("", [OPEN, ValueError()]),
        ExceptionGroup("", [ValueError(), ExceptionGroup("", [OPEN])]),
        DeadlinePassed("payments", 1.0),
        GuardError("payments", "broken"),
    ],
)
def test_a_real_failure_wins_over_a_refused_call(error: Exception) -> None:
    assert refused(error) == Again(FENCE, NOW + 10, 2, LOST)


def test_to_give_up_wins_over_all() -> None:
    assert refused(ExceptionGroup("", [OPEN, GiveUp()])) == Finish(FENCE, "dead", "gave-up", error=LOST)
    assert refused(ExceptionGroup("", [GiveUp(), OPEN])) == Finish(FENCE, "dead", "gave-up", error=LOST)


@pytest.mark.parametrize("retry", [Retry(give_up_on=(Exception,)), Retry(retry_on=(ValueError,)), Retry(attempts=1)])
def test_a_refused_call_is_no_failure_whatever_the_policy_repeats(retry: Retry) -> None:
    assert isinstance(refused(OPEN, Policy(retry=retry)), Release)
    assert isinstance(refused(ExceptionGroup("", [OPEN]), Policy(retry=retry)), Release)


@pytest.mark.parametrize("named", [GuardOpen, GuardRefused, GuardError])
def test_a_policy_may_give_up_on_a_refused_call_by_name(named: type[Exception]) -> None:
    policy = Policy(retry=Retry(give_up_on=(named,)))
    assert refused(OPEN, policy) == Finish(FENCE, "dead", "gave-up", error=LOST)


def test_of_several_refused_calls_and_snoozes_the_longest_counts() -> None:
    both = refused(ExceptionGroup("", [OPEN, FULL]))
    assert isinstance(both, Release)
    assert both.guard == "payments"
    late = refused(ExceptionGroup("", [FULL, OPEN, Snooze(1000)]))
    assert isinstance(late, Release)
    assert late.at is not None
    assert (late.guard, late.at >= NOW + 1000) == ("payments", True)


def test_a_wrong_retry_after_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"GuardRefused\.retry_after"):
        refused(GuardOpen("payments", float("nan"), ""))
