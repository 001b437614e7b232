"""Decide how a run is settled: all rules of retry, backoff, dead letter, snooze, poison and expiry."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import assert_never

from msgspec import Raw, Struct

from outlast.core.control_flow import GiveUp
from outlast.core.durations import seconds
from outlast.core.message import Delivery, Failure, Message
from outlast.core.policy import DEFAULTS, Policy
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement

__all__ = [
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
    "UnknownKind",
    "admit",
    "decide",
    "runs_alone",
]


class Succeeded(Struct, frozen=True, gc=False):
    """The handler returned. result: its value as JSON, or None. then: the jobs enqueued through its context."""

    result: Raw | None = None
    then: Sequence[Message] = ()


class Failed(Struct, frozen=True):
    """The handler raised `error`. failure: the redacted description of it."""

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


Outcome = Succeeded | Failed | TimedOut | Crashed | Invalid | Snoozed | CancelledRun | Aborted | Expired | UnknownKind


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

    Raise ConfigurationError when a custom backoff returns a value that is not a duration.
    """
    fence = delivery.fence
    match outcome:
        case Succeeded():
            return Finish(fence, "succeeded", None, outcome.result, None, outcome.then, policy.result_ttl)
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
        case Snoozed():
            return Reschedule(fence, now + outcome.seconds, delivery.attempt, crashes=_kept_crashes(delivery))
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
        case _:
            assert_never(outcome)


def _failed(delivery: Delivery, outcome: Failed, policy: Policy, now: float, rng: Random) -> Settlement:
    retry = policy.retry
    if isinstance(outcome.error, (GiveUp, *retry.give_up_on)) or not isinstance(outcome.error, retry.retry_on):
        return Finish(delivery.fence, "dead", "gave-up", error=outcome.failure)
    return _again(delivery, outcome.failure, "attempts", policy=policy, now=now, rng=rng)


def _again(
    delivery: Delivery, failure: Failure, reason: str, *, policy: Policy, now: float, rng: Random
) -> Finish | Reschedule:
    """Reschedule while attempts and budget last; else finish as dead with `reason`."""
    retry = policy.retry
    if delivery.attempt >= retry.attempts:
        return Finish(delivery.fence, "dead", reason, error=failure)
    # A backoff may be custom: a value that no store can sort by would fail the other settlements of the batch.
    at = now + seconds(retry.backoff.delay(delivery.attempt, rng), f"the delay of {type(retry.backoff).__name__}")
    if retry.budget is not None and at > delivery.message.run_at + retry.budget:
        return Finish(delivery.fence, "dead", "budget", error=failure)
    return Reschedule(delivery.fence, at, delivery.attempt + 1, failure, crashes=_kept_crashes(delivery))


def _kept_crashes(delivery: Delivery) -> int:
    """Return the crash count after a run that ended: 0, or unchanged for a job that must run alone."""
    return delivery.crashes if runs_alone(delivery) else 0
