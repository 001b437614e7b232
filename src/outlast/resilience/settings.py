"""The policies of a guard from what its caller gives: values, or plain numbers where these say as much."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from outlast.core.bounds import plain_text
from outlast.core.calls import is_async
from outlast.core.durations import Duration
from outlast.core.errors import ConfigurationError
from outlast.core.guards.policies import Breaker, Bulkhead, Fallback, RetryBudget, Timeout, with_lease
from outlast.core.ids import fits
from outlast.core.kinds import KIND_NAME
from outlast.core.policy import Retry
from outlast.core.text import shown

__all__ = ["MOST_KEYS", "BudgetSetting", "GuardSettings", "Key", "settings_of"]

MOST_KEYS: Final = 10_000
"""The keys that a guard keeps, unless it sets another number."""

Key = str | Callable[..., Hashable]
"""The name of a parameter of the call, or a function that gets the arguments of the call and returns the key."""
BudgetSetting = RetryBudget | float | Literal["default"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """The checked settings of a guard."""

    name: str
    timeout: float | None
    retry: Retry | None
    budget: RetryBudget | None
    breaker: Breaker | None
    bulkhead: Bulkhead | None
    fallback: Fallback | None
    key: Key | None
    max_keys: int
    idempotent: bool


def settings_of(
    name: str,
    *,
    timeout: Timeout | Duration | None,
    retry: Retry | int | None,
    budget: BudgetSetting,
    breaker: Breaker | bool | None,
    bulkhead: Bulkhead | int | None,
    fallback: Fallback | None,
    key: Key | None,
    max_keys: int,
    idempotent: bool,
) -> GuardSettings:
    """Return the checked settings; raise ConfigurationError that names the setting and the fix."""
    where = f"guard {shown(name)}"
    if not fits(KIND_NAME, name):
        raise ConfigurationError(f"{where}: a name is 1 to 128 letters, digits or _ . -, such as 'payments'")
    seconds = _timeout(where, timeout)
    policy = _breaker(where, breaker)
    if policy is not None:
        policy = with_lease(policy, seconds)  # a breaker that can judge nothing is refused here, not at the first call
    again = _retry(where, retry)
    if type(idempotent) is not bool:
        raise ConfigurationError(f"{where}: idempotent={shown(idempotent)}: give True or False")
    return GuardSettings(
        name=plain_text(name),
        timeout=seconds,
        retry=again,
        budget=_budget(where, budget, again),
        breaker=policy,
        bulkhead=_bulkhead(where, bulkhead),
        fallback=_fallback(where, fallback),
        key=_key(where, key),
        max_keys=_max_keys(where, max_keys, key),
        idempotent=idempotent,
    )


def _timeout(where: str, timeout: Any) -> float | None:
    if timeout is None or isinstance(timeout, Timeout):
        return None if timeout is None else timeout.seconds
    if isinstance(timeout, int | float | str | timedelta):
        return Timeout(timeout).seconds
    raise ConfigurationError(
        f"{where}: timeout={shown(timeout)}: give seconds, a duration such as '2s', or Timeout(...)"
    )


def _retry(where: str, retry: Any) -> Retry | None:
    if retry is None or isinstance(retry, Retry):
        return retry
    if type(retry) is int:
        return Retry(attempts=retry)
    raise ConfigurationError(f"{where}: retry={shown(retry)}: give Retry(...), or a number of attempts such as 3")


def _budget(where: str, budget: Any, retry: Retry | None) -> RetryBudget | None:
    if isinstance(budget, str) and budget == "default":
        return None if retry is None else RetryBudget()
    if budget is not None and retry is None:
        raise ConfigurationError(
            f"{where}: budget={shown(budget)} has no effect without retry=: give one, or leave it out"
        )
    if budget is None or isinstance(budget, RetryBudget):
        return budget
    if type(budget) in (int, float):
        return RetryBudget(share=budget)
    raise ConfigurationError(
        f"{where}: budget={shown(budget)}: give RetryBudget(...), a share of the successes such as 0.1, or None"
    )


def _breaker(where: str, breaker: Any) -> Breaker | None:
    if breaker is None or isinstance(breaker, Breaker):
        return breaker
    if type(breaker) is bool:
        return Breaker() if breaker else None
    raise ConfigurationError(f"{where}: breaker={shown(breaker)}: give Breaker(...), True for its defaults, or None")


def _bulkhead(where: str, bulkhead: Any) -> Bulkhead | None:
    if bulkhead is None or isinstance(bulkhead, Bulkhead):
        return bulkhead
    if type(bulkhead) is int:
        return Bulkhead(bulkhead)
    raise ConfigurationError(
        f"{where}: bulkhead={shown(bulkhead)}: give Bulkhead(...), or a number of calls at once such as 20"
    )


def _fallback(where: str, fallback: Any) -> Fallback | None:
    if fallback is None or isinstance(fallback, Fallback):
        return fallback
    raise ConfigurationError(f"{where}: fallback={shown(fallback)}: give Fallback(value), or Fallback(function)")


def _key(where: str, key: Any) -> Key | None:
    if key is None or (isinstance(key, str) and key):
        return key
    if callable(key) and not is_async(key):
        named: Key = key
        return named
    raise ConfigurationError(f"{where}: key={shown(key)}: give the name of a parameter, or a plain function")


def _max_keys(where: str, max_keys: Any, key: Key | None) -> int:
    if type(max_keys) is not int or not 1 <= max_keys <= 10_000_000:
        raise ConfigurationError(f"{where}: max_keys={shown(max_keys)}: give a whole number, 1 to 10,000,000")
    if key is None and max_keys != MOST_KEYS:
        raise ConfigurationError(f"{where}: max_keys={max_keys} has no effect without key=: give key=, or leave it out")
    return max_keys
