"""How many lines are logged of settlements that wait."""

from __future__ import annotations

import logging

import pytest

from outlast.brokers.rabbitmq.waits import SettlementWaits


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waits(clock: Clock, caplog: pytest.LogCaptureFixture) -> SettlementWaits:
    caplog.set_level(logging.INFO)
    return SettlementWaits(clock)


def test_a_long_alarm_is_a_line_a_minute_for_all_and_one_when_it_is_over(
    clock: Clock, waits: SettlementWaits, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(150):  # five minutes
        for work in range(30):
            waits.wait(work, 2, "q", "an alarm")
        clock.now += 2
    for work in range(30):
        waits.end(work)
    assert caplog.messages[0] == "settlements wait, the first of queue 'q': an alarm"
    assert caplog.messages[1].startswith("settlements of 60 jobs wait since ")
    assert caplog.messages[-1] == "no settlement waits any more, after 5 min"
    assert len(caplog.messages) == 1 + 4 + 1


def test_waits_that_come_and_go_are_told_once_a_minute(
    clock: Clock, waits: SettlementWaits, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        waits.wait("work", 1, "q", "full")
        waits.end("work")
        clock.now += 0.5
    assert len(caplog.messages) == 2


def test_what_is_given_up_is_not_told_as_over(waits: SettlementWaits, caplog: pytest.LogCaptureFixture) -> None:
    waits.wait("work", 1, "q", "an alarm")
    waits.forget("work")
    assert len(caplog.messages) == 1


def test_a_wait_that_was_given_up_does_not_hide_the_next_one(
    clock: Clock, waits: SettlementWaits, caplog: pytest.LogCaptureFixture
) -> None:
    waits.wait("work", 1, "q", "an alarm")
    waits.forget("work")
    clock.now += 100
    waits.wait("other", 1, "q", "an alarm")
    waits.end("other")
    assert [each.split(",")[0] for each in caplog.messages] == [
        "settlements wait",
        "settlements wait",
        "no settlement waits any more",
    ]
