"""Each option that needs what a store does not offer is refused by its name, with the fix; all else is accepted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec import structs

from outlast.core.backoff import Backoff, Constant, Exponential
from outlast.core.errors import ConfigurationError
from outlast.core.limits import Limit
from outlast.core.policy import Policy, Retention, Retry
from outlast.core.registry import Declaration, Registry
from outlast.core.store.features import (
    ALL_FEATURES,
    NEEDS_STORE,
    Features,
    check_declared,
    check_feature,
    check_messages,
)
from outlast.core.topology import Queue
from tests.support.jobs import message

URL = "amqp://host"
NO_FEATURES = Features(
    **{name: False for name in Features.__struct_fields__ if name != "delays"}, delays=(1.0, 2.0, 300.0)
)
ID = f"mail.{'0' * 32}"


async def send() -> None: ...


def declared(**options: Any) -> Registry:
    """Return an app with one kind in queue mail."""
    registry = Registry(app="shop")
    policy = options.pop("policy", Policy())
    each = Declaration(
        kind="send", queue="mail", handler=send, mode="async", takes_context=False, policy=policy, **options
    )
    registry.add(each)
    return registry


def without(feature: str) -> Features:
    """Return all features but one."""
    return structs.replace(ALL_FEATURES, **{feature: False})


QUEUES: list[tuple[str, Any, str, str]] = [
    ("concurrency", 5, "limits", "concurrency=5"),
    ("rate", "10/s", "limits", "rate="),
    ("per_key", Limit(concurrency=2), "limits", "per_key="),
    ("weights", {"a": 2}, "limits", "weights="),
    ("max_depth", 10, "bounds", "max_depth=10"),
    ("max_bytes", 10, "bounds", "max_bytes=10"),
    ("max_age", 10, "bounds", "max_age=10"),
    ("on_full", "shed", "bounds", "on_full='shed'"),
    ("retention", Retention(records=5), "retention", "retention="),
    ("max_wait", 10, "forecast", "max_wait=10"),
]


@pytest.mark.parametrize(("setting", "value", "feature", "text"), QUEUES, ids=[each[0] for each in QUEUES])
def test_a_setting_of_a_queue_is_refused(setting: str, value: Any, feature: str, text: str) -> None:
    registry = Registry(app="shop")
    registry.add_queue(Queue(name="mail", **{setting: value}))
    with pytest.raises(ConfigurationError) as refused:
        check_declared(registry, without(feature), URL, None)
    assert str(refused.value).startswith(f"queue 'mail': {text}")
    assert str(refused.value).endswith(NEEDS_STORE)
    others = structs.replace(NO_FEATURES, **{feature: True})
    check_declared(registry, others, URL, None)


KINDS: list[tuple[str, Any, str]] = [
    ("priority", "high", "priorities"),
    ("unique", "", "unique"),
    ("key", "tenant", "keys"),
    ("max_wait", 5.0, "forecast"),
]


@pytest.mark.parametrize(("option", "value", "feature"), KINDS, ids=[each[0] for each in KINDS])
def test_an_option_of_a_kind_is_refused(option: str, value: Any, feature: str) -> None:
    registry = declared(**{option: value})
    with pytest.raises(ConfigurationError, match=rf"^job 'send': {option}=.*: {re.escape(NEEDS_STORE)}$"):
        check_declared(registry, without(feature), URL, None)
    check_declared(registry, structs.replace(NO_FEATURES, **{feature: True}), URL, None)


MESSAGES: list[tuple[str, dict[str, Any], str]] = [
    ("priority", {"priority": "low"}, "priorities"),
    ("unique", {"unique": "receipt:7"}, "unique"),
    ("key", {"key": "tenant"}, "keys"),
    ("max_wait", {"max_wait": 5.0}, "forecast"),
]


@pytest.mark.parametrize(("option", "given", "feature"), MESSAGES, ids=[each[0] for each in MESSAGES])
def test_an_option_of_an_enqueue_is_refused(option: str, given: dict[str, Any], feature: str) -> None:
    late = message(ID, 0.0, **given)
    with pytest.raises(ConfigurationError, match=rf"^job 'send': {option}=.*: {re.escape(NEEDS_STORE)}$"):
        check_messages([message(ID, 0.0), late], without(feature), URL)
    check_messages([late], structs.replace(NO_FEATURES, **{feature: True}), URL)


def test_an_id_of_the_client_is_refused_and_a_generated_one_is_not() -> None:
    with pytest.raises(ConfigurationError, match=r"^job 'send': id='mail.order-7': .* remembers no ids"):
        check_messages([message("mail.order-7", 0.0)], without("ids"), URL)
    check_messages([message(ID, 0.0)], NO_FEATURES, URL)


@pytest.mark.parametrize("delay", [0.0, -3.0, 1.0, 2.0004, 299.9996])
def test_a_delay_that_the_store_keeps_is_accepted(delay: float) -> None:
    check_messages([message(ID, 1e9, delay=delay)], NO_FEATURES, URL)


@pytest.mark.parametrize("delay", [0.5, 3.0, 301.0, 300.01])
def test_another_delay_is_refused_with_those_that_are_kept(delay: float) -> None:
    text = rf"^job 'send': delay={delay:g}: .* keeps delays of 1, 2, 300 s only: {re.escape(NEEDS_STORE)}$"
    with pytest.raises(ConfigurationError, match=text):
        check_messages([message(ID, 1e9, delay=delay)], NO_FEATURES, URL)


@pytest.mark.parametrize("backoff", [Exponential(base=1, cap=300.5), Constant(301)])
def test_a_backoff_beyond_the_longest_delay_is_refused(backoff: Backoff) -> None:
    with pytest.raises(ConfigurationError, match=r"^job 'send': a backoff of up to (300.5|301) s: .* 1, 2, 300 s only"):
        check_declared(declared(policy=Policy(retry=Retry(backoff=backoff))), NO_FEATURES, URL, None)


def test_a_backoff_within_the_longest_delay_is_accepted() -> None:
    for backoff in (Exponential(base=1, cap=300), Constant(300)):
        check_declared(declared(policy=Policy(retry=Retry(backoff=backoff))), NO_FEATURES, URL, None)


def test_a_time_to_keep_results_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^job 'send': result_ttl=60: .* keeps no records and no results"):
        check_declared(declared(policy=Policy(result_ttl=60)), without("retention"), URL, None)
    check_declared(declared(policy=Policy(result_ttl=0)), NO_FEATURES, URL, None)


@pytest.mark.parametrize("timeout", [None, 56.0, 3600.0])
def test_a_longer_timeout_than_the_server_lets_jobs_run_is_refused(timeout: float | None) -> None:
    text = rf"^job 'send': timeout={timeout}: .* after consumer_timeout=60 s: give timeout= of at most 55 s, or set"
    with pytest.raises(ConfigurationError, match=text):
        check_declared(declared(policy=Policy(timeout=timeout)), ALL_FEATURES, URL, 60.0)


def test_a_shorter_timeout_is_accepted() -> None:
    check_declared(declared(policy=Policy(timeout=55.0)), ALL_FEATURES, URL, 60.0)


def test_a_store_that_offers_all_refuses_nothing() -> None:
    check_declared(declared(priority="high", unique="", key="tenant"), ALL_FEATURES, URL, None)
    check_messages([message("mail.order-7", 0.0, delay=3.3, priority="high")], ALL_FEATURES, URL)


def test_what_a_run_asks_for_is_refused_too() -> None:
    check_feature("progress", "ctx.progress", ALL_FEATURES, URL)
    with pytest.raises(ConfigurationError, match=rf"^ctx\.progress.*{re.escape(NEEDS_STORE)}"):
        check_feature("progress", "ctx.progress", without("progress"), URL)
