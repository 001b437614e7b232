"""Impossible policies and guards are refused at declaration, with the setting and the fix."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from outlast import (
    Breaker,
    Bulkhead,
    ConfigurationError,
    Fallback,
    Guard,
    Outlast,
    Retry,
    RetryBudget,
    Timeout,
)


async def a_key() -> str:
    return ""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"timeout": 0}, r"Timeout\(seconds\)=0"),
        ({"timeout": "soon"}, r"Timeout\(seconds\)='soon'"),
        ({"timeout": [2]}, r"timeout=\[2\]: give seconds, a duration such as '2s', or Timeout"),
        ({"retry": 0}, r"Retry\(attempts=0\)"),
        ({"retry": True}, r"retry=True: give Retry"),
        ({"retry": 2.0}, r"retry=2\.0: give Retry"),
        ({"retry": 3, "budget": 2.0}, r"RetryBudget\(share=2\.0\)"),
        ({"retry": 3, "budget": "much"}, r"budget='much': give RetryBudget"),
        ({"retry": 3, "budget": True}, r"budget=True: give RetryBudget"),
        ({"budget": 0.1}, r"budget=0\.1 has no effect without retry="),
        ({"breaker": 5}, r"breaker=5: give Breaker"),
        ({"breaker": Breaker(slow_rate=0.5)}, r"no call would be slow"),
        ({"bulkhead": 0}, r"Bulkhead\(concurrency=0\)"),
        ({"bulkhead": True}, r"bulkhead=True: give Bulkhead"),
        ({"fallback": 7}, r"fallback=7: give Fallback\(value\)"),
        ({"key": ""}, r"key='': give the name of a parameter"),
        ({"key": 7}, r"key=7: give the name"),
        ({"key": a_key}, r"give the name of a parameter, or a plain function"),
        ({"key": "host", "max_keys": 0}, r"max_keys=0: give a whole number"),
        ({"max_keys": 5}, r"max_keys=5 has no effect without key="),
        ({"idempotent": 1}, r"idempotent=1: give True or False"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Guard("payments", **settings)
    shop = Outlast("shop")
    with pytest.raises(ConfigurationError, match=told):
        shop.guard("payments", **settings)
    assert shop.registry.guards == {}


@pytest.mark.parametrize("name", ["", "a b", 7, None, "x" * 200])
def test_a_name_is_plain(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="a name is 1 to 128"):
        Guard(name)


def test_plain_values_are_policies() -> None:
    plain = Guard("a", timeout="2s", retry=3, budget=0.2, breaker=True, bulkhead=20).settings
    whole = Guard(
        "a",
        timeout=Timeout(timedelta(seconds=2)),
        retry=Retry(attempts=3),
        budget=RetryBudget(share=0.2),
        breaker=Breaker(),
        bulkhead=Bulkhead(20),
    ).settings
    assert (plain.timeout, plain.retry, plain.budget, plain.breaker, plain.bulkhead) == (
        whole.timeout,
        Retry(attempts=3, backoff=whole.retry.backoff) if whole.retry else None,
        whole.budget,
        whole.breaker,
        whole.bulkhead,
    )
    assert Guard("a", breaker=False).settings.breaker is None


def test_a_retry_has_a_budget_unless_none_is_wanted() -> None:
    assert Guard("a", retry=3).settings.budget == RetryBudget()
    assert Guard("a", retry=3, budget=None).settings.budget is None
    assert Guard("a").settings.budget is None


def test_an_app_keeps_its_guards_by_name_and_refuses_a_second_one() -> None:
    shop = Outlast("shop")
    payments = shop.guard("payments", timeout=2, breaker=True, fallback=Fallback(None))
    assert shop.registry.guards == {"payments": payments}
    assert repr(payments) == "Guard('payments')"
    with pytest.raises(ConfigurationError, match="'payments' is declared twice"):
        shop.guard("payments")
    assert shop.registry.guards == {"payments": payments}


def test_of_one_key() -> None:
    assert repr(Guard("hosts", key="host").of("a")) == "Guard('hosts').of('a')"
