"""Tells the end of a run in its span."""

from __future__ import annotations

from opentelemetry.trace import Span, Status, StatusCode

from outlast.core.message import Failure
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement
from outlast.observe.logs import masked

__all__ = ["tell"]

_REASON: int = 200
"""The most characters of a reason."""


def tell(span: Span, settlement: Settlement | None) -> None:
    """Set what became of the job: `outlast.job.outcome`, and its failure, in the text that is stored: redacted.

    What looks like a secret in it is masked too, as in the log: spans go to other services. A run that is
    retried or ends dead has failed; one that was snoozed, released or cancelled has not.
    """
    outcome, reason, failure = _end_of(settlement)
    span.set_attribute("outlast.job.outcome", outcome)
    if reason:
        span.set_attribute("outlast.job.reason", reason[:_REASON])
    if failure is not None:
        span.set_attribute("error.type", failure.type)
        message = masked(failure.message)
        span.add_event(
            "exception",
            {
                "exception.type": failure.type,
                "exception.message": message,
                "exception.stacktrace": masked(failure.traceback),
            },
        )
        span.set_status(Status(StatusCode.ERROR, f"{failure.type}: {message}"))
    elif outcome == "dead":
        span.set_attribute("error.type", reason or "dead")
        span.set_status(Status(StatusCode.ERROR, reason))


def _end_of(settlement: Settlement | None) -> tuple[str, str, Failure | None]:
    match settlement:
        case None:
            return "superseded", "", None
        case Finish():
            return settlement.state, settlement.reason or "", settlement.error
        case Reschedule():
            return "snoozed" if settlement.error is None else "retried", "", settlement.error
        case Release():
            return "released", settlement.why, None
        case Park():
            return "parked", "", None
