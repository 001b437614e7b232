"""Retry storms, keys that are down and calls that hang: the short form of the proof `retry_storm`."""

from __future__ import annotations

from outlast import RetryBudget
from tests.faults.proofs.retry_storm import hung, keys, memory, storm


async def test_retries_of_many_clients_stay_within_a_tenth_of_the_calls_and_the_floor() -> None:
    verdict = await storm(clients=100, each=10, fails=0.5, budget=RetryBudget())
    assert verdict.bounded, verdict
    assert verdict.reached > verdict.asked, "there are retries"
    assert verdict.refused > 0


async def test_without_a_budget_a_dependency_that_is_down_gets_three_times_the_calls() -> None:
    verdict = await storm(clients=50, each=4, fails=1.0, budget=None)
    assert verdict.reached == 3 * verdict.asked
    with_budget = await storm(clients=50, each=4, fails=1.0, budget=RetryBudget())
    assert with_budget.reached == with_budget.asked + with_budget.floor


async def test_one_of_100_keys_is_down_and_no_call_of_the_others_is_refused() -> None:
    verdict = await keys(clients=40, each=1)
    assert verdict.sound, verdict


async def test_20_calls_that_never_return_open_the_breaker() -> None:
    verdict = await hung()
    assert verdict.sound, verdict


def test_a_guard_keeps_no_more_keys_than_it_is_allowed() -> None:
    kept, _ = memory(2_000, 500)
    assert kept == 500
