"""The one place that says what becomes of a run: retry, backoff, dead letter, snooze, poison and expiry."""

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
    """The handler returned. result: its value as JSON, None for none. then: what it enqueued through its context."""

    result: Raw | None = None
    then: Sequence[Message] = ()


class Failed(Struct, frozen=True):
    """The handler raised `error`, told (redacted) in `failure`."""

    error: BaseException
    failure: Failure


class TimedOut(Struct, frozen=True):
    """The run passed its timeout."""

    failure: Failure


class Crashed(Struct, frozen=True):
    """The process of an isolated run died, seen by its living parent. solo: it ran alone because of earlier crashes."""

    failure: Failure
    solo: bool


class Invalid(Struct, frozen=True):
    """The stored arguments do not fit the handler."""

    failure: Failure


class Snoozed(Struct, frozen=True):
    """The handler asked to run again in `seconds`."""

    seconds: float


class CancelledRun(Struct, frozen=True):
    """The run was stopped because its job was cancelled."""


class Aborted(Struct, frozen=True):
    """The worker stopped the run for reasons of its own (`why`): the job is innocent."""

    why: str


class Expired(Struct, frozen=True):
    """The job's time to start had passed when it was handed out."""


class UnknownKind(Struct, frozen=True):
    """No handler here knows the kind."""


Outcome = Succeeded | Failed | TimedOut | Crashed | Invalid | Snoozed | CancelledRun | Aborted | Expired | UnknownKind


def admit(delivery: Delivery, now: float) -> Expired | None:
    """Return Expired when a delivery must not start any more; a job that has started once runs on until it ends."""
    expires_at = delivery.message.expires_at
    if expires_at is not None and now >= expires_at and delivery.attempt == 1 and delivery.crashes == 0:
        return Expired()
    return None


def runs_alone(delivery: Delivery) -> bool:
    """Tell whether a delivery must run alone in a child process: it was there when two holders died."""
    return delivery.crashes >= DEFAULTS.solo_after_crashes


def decide(delivery: Delivery, outcome: Outcome, policy: Policy, now: float, rng: Random) -> Settlement:
    """Return what the store is told about a run that came to `outcome` at `now` (wall time, seconds).

    Raise ConfigurationError when the user's own backoff gives no duration.
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
            return Release(fence, why=outcome.why)
        case Expired():
            return Finish(fence, "expired", "expired")
        case UnknownKind():
            # Half of what it has waited: a backlog for newer code must not pass through older hands again and again.
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
    """Try once more while attempts and budget last; else dead for `reason`."""
    retry = policy.retry
    if delivery.attempt >= retry.attempts:
        return Finish(delivery.fence, "dead", reason, error=failure)
    # A backoff may be the user's own; what no store can sort by must not reach a batch that others are in.
    at = now + seconds(retry.backoff.delay(delivery.attempt, rng), f"the delay of {type(retry.backoff).__name__}")
    if retry.budget is not None and at > delivery.message.run_at + retry.budget:
        return Finish(delivery.fence, "dead", "budget", error=failure)
    return Reschedule(delivery.fence, at, delivery.attempt + 1, failure, crashes=_kept_crashes(delivery))


def _kept_crashes(delivery: Delivery) -> int:
    """A run that ended starts the count anew, but a job that had to run alone goes on running alone."""
    return delivery.crashes if runs_alone(delivery) else 0
