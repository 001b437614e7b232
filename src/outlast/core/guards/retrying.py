"""Whether a call that failed is repeated, and after how long: a pure function of its inputs and a random number."""

from __future__ import annotations

import math
import re
from random import Random
from typing import Final

from msgspec import Struct

from outlast.core.guards.classify import PLAIN, header, status_of, why_not_repeated
from outlast.core.guards.policies import RetryBudget
from outlast.core.policy import Retry

__all__ = [
    "LONGEST_WAIT",
    "OVER_BUDGET",
    "Allowance",
    "Refused",
    "Repeat",
    "may_be_repeated",
    "next_attempt",
    "retry_after_of",
]

LONGEST_WAIT: Final = 300.0
"""Seconds: a dependency that asks for a longer wait is not repeated by the caller that waits for it."""

_SECONDS: Final = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)


class Repeat(Struct, frozen=True):
    """The call is repeated after `delay` seconds."""

    delay: float


class Refused(Struct, frozen=True):
    """The call is not repeated. why: in words, for the note of its error."""

    why: str


OVER_BUDGET: Final = Refused("the retry budget is used up")


class Allowance:
    """The retries that a guard has left: a share of its successes, after a small floor (`RetryBudget`).

    A retry is charged when it is decided, so that those that still wait count as well (Google, "Site Reliability
    Engineering", 2016, chapter 21: retry budgets). Not thread-safe.
    """

    __slots__ = ("_left", "_most", "_share", "refused")

    def __init__(self, policy: RetryBudget) -> None:
        self._share = policy.share
        self._most, self._left = float(policy.most), float(policy.floor)
        self.refused = 0
        """The retries that it refused."""

    @property
    def left(self) -> float:
        """The retries that are left."""
        return self._left

    def succeeded(self) -> None:
        """Add the share of one success."""
        self._left = min(self._most, self._left + self._share)

    def charge(self) -> bool:
        """Take one retry; return False when none is left."""
        if self._left < 1.0:
            self.refused += 1
            return False
        self._left -= 1.0
        return True


def next_attempt(
    retry: Retry,
    answer: object,
    *,
    attempt: int,
    elapsed: float,
    left: float | None,
    idempotent: bool,
    allowance: Allowance | None,
    wall: float,
    rng: Random,
) -> Repeat | Refused:
    """Decide whether attempt number `attempt` (1, 2, ...), which ended with an error or a response, is repeated.

    elapsed: seconds since the first attempt began. left: seconds until the deadline, None for none. wall: wall time in
    seconds, for a Retry-After with a date. The budget is charged only when the answer is Repeat.
    """
    if isinstance(answer, BaseException) and (
        isinstance(answer, retry.give_up_on) or not isinstance(answer, retry.retry_on)
    ):
        return Refused(f"{type(answer).__name__} is not in retry_on, or is in give_up_on")
    if why := why_not_repeated(answer, idempotent=idempotent):
        return Refused(why)
    if attempt >= retry.attempts:
        return Refused(f"all {retry.attempts} attempts are used")
    asked = retry_after_of(answer, wall)
    delay = retry.backoff.delay(attempt, rng) if asked is None else asked
    wait = (
        f"the next attempt in {delay:.3g} s" if asked is None else f"the dependency asks to wait {asked:.3g} s, which"
    )
    if left is not None and delay >= left:
        return Refused(f"{wait} would be past the deadline in {max(0.0, left):.3g} s")
    if retry.within is not None and elapsed + delay >= retry.within:
        return Refused(f"{wait} would be past within={retry.within:g} s")
    if asked is not None and asked > LONGEST_WAIT:
        return Refused(f"{wait} is more than {LONGEST_WAIT:g} s")
    if allowance is not None and not allowance.charge():
        return OVER_BUDGET
    return Repeat(delay)


def may_be_repeated(value: object) -> bool:
    """Whether a returned value is a response that a retry may replace: status 500 or more, or 429."""
    if type(value) in PLAIN:
        return False
    status = status_of(value)
    return status is not None and (status >= 500 or status == 429)


def retry_after_of(answer: object, wall: float) -> float | None:
    """Return the seconds that an error or a response asks to wait, None when it does not, or not in a valid form.

    Retry-After holds seconds or a date (RFC 9110, section 10.2.3); a date counts from the Date of the same response,
    by the dependency's own clock, where there is one. An error may also have `retry_after` in seconds.
    """
    own = _get(answer, "retry_after")
    if isinstance(own, int | float) and not isinstance(own, bool):
        return float(own) if 0 <= own < math.inf else None
    for holder in (answer, _get(answer, "response")):
        headers = _get(holder, "headers")
        text = None if headers is None else header(headers, "Retry-After")
        if text is not None:
            return _seconds(text.strip(), header(headers, "Date"), wall)
    return None


def _seconds(text: str, date: str | None, wall: float) -> float | None:
    if _SECONDS.fullmatch(text):
        return float(text)
    at = _moment(text)
    if at is None:
        return None
    sent = None if date is None else _moment(date)
    delay = at - (wall if sent is None else sent)
    return delay if delay >= 0 else None


def _moment(text: str) -> float | None:
    from datetime import UTC  # imports that take milliseconds, and a date is rare
    from email.utils import parsedate_to_datetime

    try:
        at = parsedate_to_datetime(text)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()  # asctime has no zone: it is GMT
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _get(value: object, name: str) -> object:
    try:
        return getattr(value, name, None)
    except Exception:
        return None
