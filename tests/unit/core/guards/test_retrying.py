"""Whether a call is repeated, and when: each rule, and the budget of all calls."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from random import Random
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from outlast import Constant, Exponential, GuardTimeout, Retry, RetryBudget
from outlast.core.guards.retrying import (
    Allowance,
    Refused,
    Repeat,
    may_be_repeated,
    next_attempt,
    retry_after_of,
)
from outlast.core.policy import Retry as SameRetry

WALL = 1_800_000_000.0
ERROR = ConnectionResetError("reset")


class Highest(Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def decided(retry: Retry, answer: object = ERROR, **given: Any) -> Repeat | Refused:
    settings: dict[str, Any] = {
        "attempt": 1,
        "elapsed": 0.0,
        "left": None,
        "idempotent": False,
        "allowance": None,
        "wall": WALL,
        "rng": Highest(),
    }
    return next_attempt(retry, answer, **{**settings, **given})


def response(status: int, method: str = "GET", **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, headers=named, request=httpx2.Request(method, "http://test/"))


def test_the_backoff_is_drawn_with_full_jitter() -> None:
    retry = Retry(backoff=Exponential(base=1, cap=10))
    assert [decided(retry, attempt=number) for number in (1, 2, 3, 4)] == [Repeat(1), Repeat(2), Repeat(4), Repeat(8)]
    drawn = {decided(retry, rng=Random(seed)).delay for seed in range(50)}  # type: ignore[union-attr]
    assert len(drawn) == 50
    assert 0 <= min(drawn) < 0.1
    assert 0.9 < max(drawn) <= 1


def test_attempts_include_the_first() -> None:
    assert isinstance(decided(Retry(attempts=3, backoff=Constant(1)), attempt=2), Repeat)
    assert decided(Retry(attempts=3), attempt=3) == Refused("all 3 attempts are used")


def test_only_the_classes_of_the_policy_are_repeated() -> None:
    retry = Retry(backoff=Constant(1), retry_on=OSError, give_up_on=ConnectionError)
    assert decided(retry, TimeoutError()) == Repeat(1)
    assert isinstance(decided(retry, ConnectionResetError()), Refused)
    assert isinstance(decided(retry, ValueError()), Refused)
    assert decided(retry, response(503)) == Repeat(1)


def test_no_predicate_repeats_a_cancel() -> None:
    retry = Retry(backoff=Constant(0), retry_on=BaseException)
    for error in (asyncio.CancelledError(), KeyboardInterrupt(), SystemExit()):
        assert decided(retry, error, idempotent=True) == Refused("it was stopped")


def test_what_is_not_safe_is_not_repeated() -> None:
    assert "POST may have been done" in decided(Retry(), response(503, "POST")).why  # type: ignore[union-attr]


def test_no_wait_ends_past_the_deadline() -> None:
    retry = Retry(backoff=Constant(2))
    assert decided(retry, left=2.1) == Repeat(2)
    assert decided(retry, left=2.0) == Refused("the next attempt in 2 s would be past the deadline in 2 s")
    assert isinstance(decided(retry, left=-1.0), Refused)


def test_no_attempt_begins_past_within() -> None:
    retry = Retry(backoff=Constant(2), within=10)
    assert decided(retry, elapsed=7.9) == Repeat(2)
    assert decided(retry, elapsed=8.0) == Refused("the next attempt in 2 s would be past within=10 s")


class TestRetryAfter:
    retry = Retry(backoff=Constant(1))

    @pytest.mark.parametrize(
        ("text", "delay"),
        [
            ("7", 7.0),
            ("0", 0.0),
            ("1.5", 1.5),
            (" 7 ", 7.0),
            (formatdate(WALL + 30, usegmt=True), 30.0),
            ("-1", 1.0),
            ("soon", 1.0),
            ("", 1.0),
            ("nan", 1.0),
            ("1e3", 1.0),
            ("\u0667", 1.0),
            (formatdate(WALL - 30, usegmt=True), 1.0),
            ("Fri, 31 Feb 2099 10:00:00 GMT", 1.0),
            ("9" * 500, 1.0),
        ],
    )
    def test_seconds_or_a_date_else_the_own_backoff(self, text: str, delay: float) -> None:
        answer = SimpleNamespace(status_code=503, headers={"Retry-After": text})
        assert decided(self.retry, answer) == Repeat(delay)

    def test_a_date_counts_by_the_clock_of_the_server(self) -> None:
        answer = response(
            503, Retry_After=formatdate(WALL + 3630, usegmt=True), Date=formatdate(WALL + 3600, usegmt=True)
        )
        assert decided(self.retry, answer) == Repeat(30)
        answer.headers["Date"] = "yesterday"
        assert retry_after_of(answer, WALL) == 3630

    @pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
    def test_a_date_in_the_old_form_of_asctime_is_in_gmt_wherever_this_runs(
        self, zone: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setenv("TZ", zone)
            time.tzset()
            found = retry_after_of(response(503, Retry_After=time.asctime(time.gmtime(WALL + 30))), WALL)
        time.tzset()
        assert found == 30

    def test_beyond_the_deadline_the_error_comes_at_once(self) -> None:
        found = decided(self.retry, response(429, Retry_After="7"), left=5.0)
        assert found == Refused("the dependency asks to wait 7 s, which would be past the deadline in 5 s")

    def test_a_very_long_wait_is_not_waited_for(self) -> None:
        assert isinstance(decided(self.retry, response(429, Retry_After="86400")), Refused)

    def test_of_the_response_of_an_error(self) -> None:
        answer = response(429, Retry_After="7")
        error = httpx2.HTTPStatusError("x", request=answer.request, response=answer)
        assert decided(self.retry, error) == Repeat(7)

    @pytest.mark.parametrize(("value", "delay"), [(3, 3.0), (-3, 1.0), (float("inf"), 1.0), (True, 1.0), ("3", 1.0)])
    def test_of_any_exception_that_carries_one(self, value: object, delay: float) -> None:
        error = ConnectionError("busy")
        error.retry_after = value  # type: ignore[attr-defined]
        assert decided(self.retry, error) == Repeat(delay)

    def test_an_attribute_that_raises_is_none(self) -> None:
        class Odd(Exception):
            @property
            def retry_after(self) -> float:
                raise RuntimeError

        assert decided(self.retry, Odd()) == Repeat(1)


def test_which_responses_may_be_replaced() -> None:
    assert [may_be_repeated(response(status)) for status in (200, 404, 429, 500, 503)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert not may_be_repeated("text")


class TestBudget:
    retry = Retry(attempts=3, backoff=Constant(1))

    def test_it_is_charged_when_the_retry_is_decided(self) -> None:
        allowance = Allowance(RetryBudget(share=0.5, floor=2))
        assert [decided(self.retry, allowance=allowance) for _ in range(3)] == [
            Repeat(1),
            Repeat(1),
            Refused("the retry budget is used up"),
        ]
        assert (allowance.left, allowance.refused) == (0, 1)
        allowance.succeeded()
        assert isinstance(decided(self.retry, allowance=allowance), Refused)
        allowance.succeeded()
        assert decided(self.retry, allowance=allowance) == Repeat(1)

    def test_a_retry_that_is_refused_for_another_reason_costs_nothing(self) -> None:
        allowance = Allowance(RetryBudget(floor=2))
        decided(self.retry, allowance=allowance, attempt=3)
        decided(self.retry, allowance=allowance, left=0.5)
        decided(self.retry, ValueError(), allowance=allowance, attempt=9)
        assert allowance.left == 2

    def test_what_is_saved_is_bounded(self) -> None:
        allowance = Allowance(RetryBudget(share=1, floor=1, most=3))
        for _ in range(9):
            allowance.succeeded()
        assert allowance.left == 3

    @pytest.mark.parametrize("failing", [0.5, 1.0])
    def test_a_storm_adds_a_tenth_and_the_floor(self, failing: float) -> None:
        """A thousand clients of a dependency that fails: without the budget the same clients call it more often."""

        def calls(allowance: Allowance | None) -> int:
            rng, made = Random(7), 0
            for _ in range(1000):
                for attempt in range(1, 4):
                    made += 1
                    if rng.random() >= failing:
                        if allowance is not None:
                            allowance.succeeded()
                        break
                    if isinstance(decided(self.retry, attempt=attempt, allowance=allowance), Refused):
                        break
            return made

        assert calls(Allowance(RetryBudget(share=0.1, floor=10))) <= 1000 * 1.1 + 10
        assert calls(None) > 1000 * (1.7 if failing < 1 else 2.9)


def test_one_policy_for_jobs_and_calls() -> None:
    assert Retry is SameRetry


def test_a_timeout_of_the_guard_is_repeated() -> None:
    assert isinstance(decided(Retry(), GuardTimeout("payments", 1)), Repeat)
