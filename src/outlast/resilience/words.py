"""The policies of a guard in words, for people."""

from __future__ import annotations

from outlast.core.guards.policies import Breaker, Bulkhead, RetryBudget, slow_limit
from outlast.core.policy import Retry
from outlast.core.text import counted, shown
from outlast.resilience.settings import GuardSettings

__all__ = ["policies_in_words"]


def policies_in_words(settings: GuardSettings) -> dict[str, str]:
    """Return the policies that a guard has, by their setting, in the order in which a call meets them."""
    words: dict[str, str] = {}
    if settings.key is not None:
        by = settings.key if isinstance(settings.key, str) else "key"
        words["key"] = f"a breaker and a bulkhead for each {by}, in each process; at most {settings.max_keys:,}"
    if settings.retry is not None:
        words["retry"] = _retry(settings.retry, settings.budget, idempotent=settings.idempotent)
    if settings.bulkhead is not None:
        words["bulkhead"] = _bulkhead(settings.bulkhead)
    if settings.breaker is not None:
        words["breaker"] = _breaker(settings.breaker, settings.timeout)
    if settings.timeout is not None:
        words["timeout"] = _seconds(settings.timeout)
    if settings.fallback is not None:
        answer, on = settings.fallback.answer, ", ".join(each.__name__ for each in settings.fallback.on)
        words["fallback"] = f"{'a function' if callable(answer) else shown(answer, 40)} instead of {on}"
    return words


def _retry(retry: Retry, budget: RetryBudget | None, *, idempotent: bool) -> str:
    words = f"{counted(retry.attempts, 'attempt')}"
    if retry.within is not None:
        words += f" within {_seconds(retry.within)}"
    if budget is not None:
        words += f"; budget {budget.floor} and {budget.share:.0%} of the successes"
    return words + ("; POST and PATCH too" if idempotent else "")


def _bulkhead(bulkhead: Bulkhead) -> str:
    return f"{bulkhead.concurrency} at once, {bulkhead.max_waiting} wait at most {_seconds(bulkhead.max_wait)}"


def _breaker(breaker: Breaker, timeout: float | None) -> str:
    limit = slow_limit(breaker, timeout)
    slow = breaker.slow_rate if breaker.slow_rate is not None else breaker.failure_rate
    opens = [] if breaker.failure_rate is None else [f"{breaker.failure_rate:.0%} fail"]
    if limit != float("inf") and slow is not None:
        opens.append(f"{slow:.0%} take {_seconds(limit)}")
    window = f"the last {breaker.window} calls" if type(breaker.window) is int else _seconds(breaker.window)
    words = (
        f"opens when {' or '.join(opens)} of at least {breaker.minimum} in {window}; probe every "
        f"{_seconds(breaker.open_for)}, lease {_seconds(breaker.probe_lease)}, ramp {_seconds(breaker.ramp)}"
    )
    return words if breaker.share else f"{words}; each process alone"


def _seconds(number: float) -> str:
    return f"{number:g} s"
