"""Decide how a run is settled: all rules of retry, backoff, dead letter, snooze, guards, poison and expiry."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final, Literal, assert_never

from msgspec import Raw, Struct

from outlast.core.control_flow import GiveUp, Snooze
from outlast.core.durations import seconds
from outlast.core.errors import DeadlinePassed, GuardError, GuardRefused
from outlast.core.guards.waits import WAITS_FOR
from outlast.core.message import Delivery, Failure, Message
from outlast.core.policy import DEFAULTS, Policy, Retry
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement

__all__ = [
    "KIND_MISSING",
    "UNRUNNABLE",
    "Aborted",
    "CancelledRun",
    "Crashed",
    "Expired",
    "Failed",
    "Invalid",
    "Outcome",
    "Snoozed",
    "Succeeded",
    "TimedOut",
    "Unfetched",
    "UnknownKind",
    "Unrunnable",
    "admit",
    "decide",
    "runs_alone",
]


KIND_MISSING: Final = "kind-missing"
"""The reason of a job that ended because no child process knew its kind."""
UNRUNNABLE: Final = ("KindMissing", "NoProcess")
"""The types of the failures of `Unrunnable`: the first for a kind that the child process does not know."""
_NO_TURN: Final = 1.0
"""Seconds for which a job is put off that got no turn in a bulkhead."""
_LEAST_SPREAD: Final = 1.0
"""Seconds over which the jobs that a guard has put off come back, at least."""


class Succeeded(Struct, frozen=True, gc=False):
    """The handler returned. result: its value as JSON, or None. then: the jobs enqueued through its context."""

    result: Raw | None = None
    then: Sequence[Message] = ()


class Failed(Struct, frozen=True):
    """The handler raised `error`, of any class. failure: the redacted description of it."""

    error: BaseException
    failure: Failure


class TimedOut(Struct, frozen=True):
    """The run exceeded its timeout."""

    failure: Failure


class Crashed(Struct, frozen=True):
    """The child process of the run died while its parent lived. solo: it ran alone because of earlier crashes."""

    failure: Failure
    solo: bool


class Invalid(Struct, frozen=True):
    """The stored arguments do not fit the handler."""

    failure: Failure


class Unfetched(Struct, frozen=True):
    """The arguments are not in the object store, or are not those that were put there. reason: which of the two."""

    failure: Failure
    reason: Literal["object-missing", "object-damaged"]


class Snoozed(Struct, frozen=True):
    """The handler requested another run in `seconds`."""

    seconds: float


class CancelledRun(Struct, frozen=True):
    """The run was stopped because its job was cancelled."""


class Aborted(Struct, frozen=True):
    """The worker stopped the run for a reason (`why`) that is not the job's fault. begun: its handler was called."""

    why: str
    begun: bool = True


class Expired(Struct, frozen=True):
    """The job's `expires` time had passed when it was claimed."""


class UnknownKind(Struct, frozen=True):
    """This worker has no handler for the kind."""


class Unrunnable(Struct, frozen=True):
    """No child process could begin the run. times: how often before, at this worker."""

    failure: Failure
    times: int


Outcome = (
    Succeeded
    | Failed
    | TimedOut
    | Crashed
    | Invalid
    | Unfetched
    | Snoozed
    | CancelledRun
    | Aborted
    | Expired
    | UnknownKind
    | Unrunnable
)


def admit(delivery: Delivery, now: float) -> Expired | None:
    """Return Expired when a delivery must not start any more. A job that has begun before never expires."""
    expires_at = delivery.message.expires_at
    if expires_at is not None and now >= expires_at and not delivery.begun:
        return Expired()
    return None


def runs_alone(delivery: Delivery) -> bool:
    """Tell whether a delivery must run alone in a child process: it was running when two holders died."""
    return delivery.crashes >= DEFAULTS.solo_after_crashes


def decide(delivery: Delivery, outcome: Outcome, policy: Policy, now: float, rng: Random) -> Settlement:
    """Return the settlement of a run that ended with `outcome` at `now` (wall time, seconds).

    Raise ConfigurationError when a custom backoff or a Snooze has a value that is not a duration.
    """
    fence = delivery.fence
    match outcome:
        case Succeeded():
            kept, then, kind = outcome.result, outcome.then, delivery.message.kind
            return Finish(fence, "succeeded", None, kept, None, then, policy.result_ttl, None, kind)
        case Failed():
            return _failed(delivery, outcome, policy, now, rng)
        case TimedOut():
            return _again(delivery, outcome.failure, "timeout", policy=policy, now=now, rng=rng)
        case Crashed():
            if outcome.solo:
                return Finish(fence, "dead", "poison", error=outcome.failure)
            return _again(delivery, outcome.failure, "crash", policy=policy, now=now, rng=rng)
        case Invalid():
            return Finish(fence, "dead", "invalid-arguments", error=outcome.failure)
        case Unfetched():
            return Finish(fence, "dead", outcome.reason, error=outcome.failure)
        case Snoozed():
            return _snoozed(delivery, outcome.seconds, now)
        case CancelledRun():
            return Finish(fence, "cancelled", "cancelled")
        case Aborted():
            return Release(fence, why=outcome.why, begun=outcome.begun)
        case Expired():
            return Finish(fence, "expired", "expired")
        case UnknownKind():
            # Half of the time waited: else old workers would claim a backlog for newer code again and again.
            waited = now - delivery.message.run_at
            return Park(fence, now + min(DEFAULTS.park_cap, max(DEFAULTS.park, waited / 2)))
        case Unrunnable():
            return _unrunnable(delivery, outcome, now)
        case _:
            assert_never(outcome)


def _unrunnable(delivery: Delivery, outcome: Unrunnable, now: float) -> Finish | Reschedule:
    """Try again without using up an attempt, later each time; end a job that no waiting can help."""
    if outcome.failure.type == UNRUNNABLE[0] and outcome.times >= DEFAULTS.unrunnable_times:
        return Finish(delivery.fence, "dead", KIND_MISSING, error=outcome.failure)
    pause = DEFAULTS.park * 2.0 ** min(outcome.times, 10)
    at = now + min(DEFAULTS.park_cap, pause)
    return Reschedule(delivery.fence, at, delivery.attempt, outcome.failure, crashes=delivery.crashes, begun=False)


def _failed(delivery: Delivery, outcome: Failed, policy: Policy, now: float, rng: Random) -> Settlement:
    match _verdict(outcome.error, policy.retry):
        case "retry":
            return _again(delivery, outcome.failure, "attempts", policy=policy, now=now, rng=rng)
        case "give up":
            return Finish(delivery.fence, "dead", "gave-up", error=outcome.failure)
        case _Refused() as refused:
            return _postponed(delivery, refused, now, rng)
        case length:
            return _snoozed(delivery, length, now)


class _Refused(Struct, frozen=True):
    """A guard has refused a call of the handler. after: seconds from which on it may let one through."""

    guard: str
    after: float


def _verdict(error: BaseException, retry: Retry) -> Literal["give up", "retry"] | float | _Refused:
    """Return what the rules say about an exception: the seconds of its Snooze, else whether to retry.

    Each exception in a group, at any depth, counts as if it were raised alone: to give up wins over a retry, a retry
    over a refused guard, that over a snooze, and of several of these the longest counts. A group whose own class is in
    `retry_on` or `give_up_on` counts as a whole, except that a GiveUp, a Snooze or a refused guard in it still counts.
    A guard that refused a call is no failure, unless `give_up_on` has a class of guards' errors that it is of.
    Causes do not count: `raise X from GiveUp()` is an X. Reads classes only by `type`, since an exception may define
    `__class__` and `exceptions` itself.
    """
    give_up_groups, retry_groups = _groups(retry.give_up_on), _groups(retry.retry_on)
    verdict: Literal["retry"] | None = None
    longest = 0.0
    refused: _Refused | None = None
    waiting = [(error, False)]
    seen: set[tuple[int, bool]] = set()  # the same group may be in others many times
    while waiting:
        each, listed = waiting.pop()
        kind = type(each)
        if (id(each), listed) in seen:
            continue
        seen.add((id(each), listed))
        if issubclass(kind, Snooze):
            longest = max(longest, seconds(each.seconds, "Snooze(seconds)"))  # type: ignore[attr-defined]
        elif issubclass(kind, GiveUp):
            return "give up"
        elif issubclass(kind, BaseExceptionGroup):
            if issubclass(kind, give_up_groups):
                return "give up"
            listed = listed or issubclass(kind, retry_groups)
            waiting.extend((part, listed) for part in _parts_of(each))
        elif issubclass(kind, GuardRefused) and not _fails(kind, retry):
            one = _refusal(each)  # type: ignore[arg-type]
            refused = one if refused is None or one.after > refused.after else refused
        elif issubclass(kind, retry.give_up_on) or not (listed or _retried(kind, retry)):
            return "give up"
        else:
            verdict = "retry"
    if verdict is None and refused is not None:
        return _Refused(refused.guard, max(refused.after, longest))
    return verdict or longest


def _fails(kind: type[BaseException], retry: Retry) -> bool:
    """Tell whether a refused call fails the run: the handler's own deadline has passed, or the policy names it."""
    named = tuple(each for each in retry.give_up_on if issubclass(each, GuardError))
    return issubclass(kind, (DeadlinePassed, *named))


def _refusal(error: GuardRefused) -> _Refused:
    after = error.retry_after
    return _Refused(error.guard, _NO_TURN if after is None else seconds(after, "GuardRefused.retry_after"))


def _groups(kinds: tuple[type[BaseException], ...]) -> tuple[type[BaseException], ...]:
    return tuple(kind for kind in kinds if issubclass(kind, BaseExceptionGroup))


_parts_of: Final[Any] = BaseExceptionGroup.exceptions.__get__


def _retried(kind: type[BaseException], retry: Retry) -> bool:
    """Tell whether `retry_on` has a class. A SystemExit, or a cancellation by other code, counts as a RuntimeError."""
    return issubclass(kind, retry.retry_on) or (
        not issubclass(kind, Exception) and issubclass(RuntimeError, retry.retry_on)
    )


def _snoozed(delivery: Delivery, length: float, now: float) -> Reschedule:
    return Reschedule(delivery.fence, now + length, delivery.attempt, crashes=_kept_crashes(delivery))


def _postponed(delivery: Delivery, refused: _Refused, now: float, rng: Random) -> Release:
    """Put the job off until the guard may let a call through, with its attempt, its crashes and its rank.

    They all wait for the same moment, so they come back spread over as much time again.
    """
    at = now + refused.after + rng.random() * max(_LEAST_SPREAD, refused.after)
    return Release(delivery.fence, at, f"{WAITS_FOR} {refused.guard}", begun=True, guard=refused.guard)


def _again(
    delivery: Delivery, failure: Failure, reason: str, *, policy: Policy, now: float, rng: Random
) -> Finish | Reschedule:
    """Reschedule while attempts and `within` last; else finish as dead with `reason`."""
    retry = policy.retry
    if delivery.attempt >= retry.attempts:
        return Finish(delivery.fence, "dead", reason, error=failure)
    # A backoff may be custom: a value that no store can sort by would fail the other settlements of the batch.
    at = now + seconds(retry.backoff.delay(delivery.attempt, rng), f"the delay of {type(retry.backoff).__name__}")
    if retry.within is not None and at > delivery.message.run_at + retry.within:
        return Finish(delivery.fence, "dead", "budget", error=failure)
    return Reschedule(delivery.fence, at, delivery.attempt + 1, failure, crashes=_kept_crashes(delivery))


def _kept_crashes(delivery: Delivery) -> int:
    """Return the crash count after a run that ended: 0, or unchanged for a job that must run alone."""
    return delivery.crashes if runs_alone(delivery) else 0
