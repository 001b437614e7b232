"""The policies of a guard: what they take, and what they refuse, with the setting and the fix."""

from __future__ import annotations

from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest
from msgspec import Struct, structs

import outlast
from outlast.core.errors import ConfigurationError
from outlast.core.guards.policies import Breaker, Bulkhead, Fallback, RetryBudget, Timeout, slow_limit
from outlast.core.guards.window import Thresholds


async def an_async_one(answer: object) -> bool:
    return answer is None


@pytest.mark.parametrize("value", ["2s", 2, 2.0, timedelta(seconds=2)])
def test_durations_are_taken_in_every_form(value: Any) -> None:
    assert Timeout(value).seconds == 2.0
    assert Breaker(open_for=value, probe_lease=value, ramp=value, slow=value) == Breaker(
        open_for=2.0, probe_lease=2.0, ramp=2.0, slow=2.0
    )
    assert Bulkhead(1, max_wait=value).max_wait == 2.0


@pytest.mark.parametrize(
    ("window", "kept"), [(100, 100), (100_000, 100_000), ("30s", 30.0), (0.5, 0.5), (timedelta(minutes=1), 60.0)]
)
def test_a_window_is_a_number_of_calls_or_a_time(window: Any, kept: float) -> None:
    breaker = Breaker(window=window)
    assert (breaker.window, type(breaker.window)) == (kept, type(kept))
    assert structs.replace(breaker, minimum=5).window == kept


def test_classes_are_taken_alone_or_together() -> None:
    breaker = Breaker(failures=OSError, ignore=[KeyError, ValueError])
    assert (breaker.failures, breaker.ignore) == ((OSError,), (KeyError, ValueError))
    assert Breaker(failures=callable).failures is callable
    assert Breaker().failures is None
    assert Fallback(None, on=OSError).on == (OSError,)
    assert Fallback([]).on == (Exception,)


def test_what_is_allowed_at_the_edges() -> None:
    Breaker(failure_rate=1, slow_rate=1.0, minimum=1, window=1, ramp=0, quorum=0)
    RetryBudget(share=0, floor=1, most=1)
    RetryBudget(share=1, floor=0)
    Bulkhead(1, max_wait=0, max_waiting=0)


@pytest.mark.parametrize(
    ("policy", "settings", "told"),
    [
        (Timeout, {"seconds": 0}, r"Timeout\(seconds\)=0: give seconds above 0: leave the timeout out"),
        (Timeout, {"seconds": -1}, r"Timeout\(seconds\)=-1: give seconds as a number"),
        (Timeout, {"seconds": "2"}, r"Timeout\(seconds\)='2': give a number with its unit"),
        (Timeout, {"seconds": None}, r"Timeout\(seconds\)=None: give seconds"),
        (RetryBudget, {"share": 1.1}, r"RetryBudget\(share=1.1\): give the retries that a success adds, 0 to 1"),
        (RetryBudget, {"share": -0.1}, r"RetryBudget\(share=-0.1\)"),
        (RetryBudget, {"share": nan}, r"RetryBudget\(share=nan\)"),
        (RetryBudget, {"share": True}, r"RetryBudget\(share=True\)"),
        (RetryBudget, {"share": "10%"}, r"RetryBudget\(share='10%'\)"),
        (RetryBudget, {"floor": -1}, r"RetryBudget\(floor=-1\): give a whole number, 0 to 1,000,000"),
        (RetryBudget, {"floor": 0.5}, r"RetryBudget\(floor=0.5\)"),
        (RetryBudget, {"most": 0}, r"RetryBudget\(most=0\): give a whole number, 1 to"),
        (RetryBudget, {"most": 1_000_001}, r"RetryBudget\(most=1000001\)"),
        (RetryBudget, {"floor": 20, "most": 10}, r"floor=20, most=10\): raise most to 20 or more, or lower floor"),
        (RetryBudget, {"share": 0, "floor": 0}, r"refuses each retry: raise share or floor, or give Retry\(attempts=1"),
        (Breaker, {"window": 0}, r"Breaker\(window=0\): give 1 to 100,000 calls, or a time, such as '30s'"),
        (Breaker, {"window": 100_001}, r"Breaker\(window=100001\): give 1 to 100,000 calls"),
        (Breaker, {"window": -5}, r"Breaker\(window=-5\)"),
        (Breaker, {"window": "0s"}, r"Breaker\(window\)='0s': give seconds above 0: give a number of calls, such as"),
        (Breaker, {"window": True}, r"Breaker\(window\)=True"),
        (Breaker, {"window": None}, r"Breaker\(window\)=None"),
        (Breaker, {"window": 5}, r"window=5, minimum=10\): a window of 5 calls never has 10: lower minimum or widen"),
        (Breaker, {"minimum": 0}, r"Breaker\(minimum=0\): give a whole number, 1 to"),
        (Breaker, {"minimum": 1.5}, r"Breaker\(minimum=1.5\)"),
        (Breaker, {"failure_rate": 0}, r"Breaker\(failure_rate=0\): give a share of the calls above 0 and at most 1"),
        (Breaker, {"failure_rate": 50}, r"Breaker\(failure_rate=50\)"),
        (Breaker, {"failure_rate": nan}, r"Breaker\(failure_rate=nan\)"),
        (Breaker, {"failure_rate": False}, r"Breaker\(failure_rate=False\)"),
        (Breaker, {"slow_rate": 1.01}, r"Breaker\(slow_rate=1.01\): give a share"),
        (Breaker, {"slow_rate": "half"}, r"Breaker\(slow_rate='half'\)"),
        (Breaker, {"failure_rate": None}, r"it would never open: give one of the rates, or no breaker"),
        (Breaker, {"slow": 0}, r"Breaker\(slow\)=0: give seconds above 0: give the time from which a call is slow"),
        (Breaker, {"open_for": 0}, r"Breaker\(open_for\)=0: give seconds above 0: such as '5s'"),
        (Breaker, {"open_for": inf}, r"Breaker\(open_for\)=inf"),
        (Breaker, {"probe_lease": 0}, r"Breaker\(probe_lease\)=0: give seconds above 0: longer than a call may take"),
        (Breaker, {"ramp": -1}, r"Breaker\(ramp\)=-1"),
        (Breaker, {"quorum": 1}, r"Breaker\(quorum=1\): give the share of the processes that must be exceeded"),
        (Breaker, {"quorum": -0.1}, r"Breaker\(quorum=-0.1\)"),
        (Breaker, {"quorum": None}, r"Breaker\(quorum=None\)"),
        (Breaker, {"failures": "OSError"}, r"Breaker\(failures='OSError'\): give exception classes"),
        (Breaker, {"failures": an_async_one}, r"Breaker\(failures=<function an_async_one.*\): it is async"),
        (Breaker, {"failures": int}, r"Breaker\(failures=<class 'int'>\): give exception classes"),
        (Breaker, {"ignore": [OSError, 5]}, r"Breaker\(ignore=\[.*\]\): give exception classes"),
        (Breaker, {"share": 1}, r"Breaker\(share=1\): give True, or False for a breaker of each process"),
        (Bulkhead, {"concurrency": 0}, r"Bulkhead\(concurrency=0\): give a whole number, 1 to"),
        (Bulkhead, {"concurrency": 2.5}, r"Bulkhead\(concurrency=2.5\)"),
        (Bulkhead, {"concurrency": True}, r"Bulkhead\(concurrency=True\)"),
        (Bulkhead, {"concurrency": 1, "max_wait": -1}, r"Bulkhead\(max_wait\)=-1"),
        (Bulkhead, {"concurrency": 1, "max_waiting": -1}, r"Bulkhead\(max_waiting=-1\): give a whole number, 0 to"),
        (Fallback, {"answer": 1, "on": BaseException}, r"Fallback\(on=.*\): give subclasses of Exception"),
        (Fallback, {"answer": 1, "on": (OSError, KeyboardInterrupt)}, r"an exit and an interrupt are never answered"),
        (Fallback, {"answer": 1, "on": ()}, r"Fallback\(on=\(\)\): give subclasses of Exception"),
        (Fallback, {"answer": 1, "on": "Error"}, r"Fallback\(on='Error'\): give exception classes"),
    ],
)
def test_an_impossible_policy_is_refused_with_the_setting_and_the_fix(
    policy: Any, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        policy(**settings)


@pytest.mark.parametrize("policy", [Timeout(1), RetryBudget(), Breaker(), Bulkhead(1), Fallback(1)])
def test_policies_are_frozen_values_that_are_exported(policy: Struct) -> None:
    assert getattr(outlast, type(policy).__name__) is type(policy)
    assert structs.replace(policy) == policy
    with pytest.raises(AttributeError):
        setattr(policy, structs.fields(policy)[0].name, 5)


def test_slow_calls_have_the_rate_of_failures_unless_they_have_their_own() -> None:
    assert Breaker(failure_rate=0.3).thresholds == Thresholds(10, 0.3, 0.3)
    assert Breaker(slow_rate=0.8, minimum=5).thresholds == Thresholds(5, 0.5, 0.8)
    assert Breaker(failure_rate=None, slow_rate=0.8).thresholds == Thresholds(10, None, 0.8)


def test_a_call_is_slow_from_the_limit_of_the_breaker_or_from_the_timeout_of_its_guard() -> None:
    assert slow_limit(Breaker(slow="1s"), 2.0) == 1.0
    assert slow_limit(Breaker(slow_rate=0.5), 2.0) == 2.0
    assert slow_limit(Breaker(), None) == inf
    with pytest.raises(ConfigurationError, match=r"Breaker\(slow_rate=0.5\): no call would be slow: give slow="):
        slow_limit(Breaker(slow_rate=0.5), None)
