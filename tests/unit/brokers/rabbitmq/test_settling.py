"""What each settlement publishes before its acknowledgement."""

from __future__ import annotations

from random import Random

import pytest

from outlast.brokers.rabbitmq.job_form import TakenJob
from outlast.brokers.rabbitmq.settling import SettlingPlan, plan_of
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.core.message import Fence, Message
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement
from tests.support.jobs import failure, message

NOW = 1000.0
FENCE = Fence("mail.1", "mail", 1)
JOB = message("mail.1", NOW, args={"a": 1})
THEN = message("other.2", NOW, args={"b": 2})


def plan(settlement: Settlement, *, job: Message = JOB, attempt: int = 1, crashes: int = 0) -> SettlingPlan:
    return plan_of(settlement, TakenJob(job, attempt, crashes), NOW, Random(1))


def sent(settlement: Settlement, *, job: Message = JOB, attempt: int = 1, crashes: int = 0) -> AmqpMessage:
    """Return the last message that is published."""
    return plan(settlement, job=job, attempt=attempt, crashes=crashes).messages[-1]


@pytest.mark.parametrize("state", ["succeeded", "expired", "cancelled"])
def test_an_end_without_follow_ups_is_only_acknowledged(state: str) -> None:
    assert plan(Finish(FENCE, state, "why")) == SettlingPlan()  # type: ignore[arg-type]


def test_follow_ups_come_first() -> None:
    follow_up, letter = plan(Finish(FENCE, "dead", "attempts", error=failure(5), then=[THEN])).messages
    assert (follow_up.exchange, follow_up.key, follow_up.body) == ("", "other", b'{"b":2}')
    assert (letter.exchange, letter.key, letter.body) == ("", "mail.dead", b'{"a":1}')
    assert letter.properties.headers["outlast-reason"] == "attempts"
    (only,) = plan(Finish(FENCE, "succeeded", then=[THEN])).messages
    assert only == follow_up


def test_a_follow_up_with_a_delay_goes_to_a_bucket() -> None:
    later = message("other.2", NOW, delay=60)
    assert sent(Finish(FENCE, "succeeded", then=[later])).exchange == "outlast.delay.1m"


def test_a_retry_goes_to_a_bucket_with_its_attempt() -> None:
    retry = sent(Reschedule(FENCE, NOW + 4, 3, failure(2), crashes=1), attempt=2)
    assert (retry.exchange, retry.key) == ("outlast.delay.4s", "mail")
    assert retry.properties.headers == {"outlast-attempt": 3, "outlast-crashes": 1, "outlast-begun": True}
    assert sent(Reschedule(FENCE, NOW, 3, failure(2))).exchange == ""
    assert "outlast-begun" not in sent(Reschedule(FENCE, NOW, 1, failure(2), begun=False)).properties.headers


def test_a_longer_wait_than_the_longest_bucket_is_carried_on() -> None:
    retry = sent(Reschedule(FENCE, NOW + 20_000, 2, failure(1)))
    assert retry.exchange == "outlast.delay.4h"
    assert retry.properties.headers["outlast-not-before"] == NOW + 20_000
    assert "outlast-not-before" not in sent(Reschedule(FENCE, NOW + 14_400, 2, failure(1))).properties.headers


def test_a_job_that_is_given_back_goes_to_the_front_of_its_queue_once() -> None:
    assert plan(Release(FENCE)) == SettlingPlan(requeue=True)


def test_a_job_that_was_returned_before_is_published_again_so_that_returns_do_not_make_it_suspect() -> None:
    again = sent(Release(FENCE, begun=True), attempt=2, crashes=1)
    assert (again.exchange, again.key) == ("", "mail")
    assert again.properties.headers == {"outlast-attempt": 2, "outlast-crashes": 1, "outlast-begun": True}


def test_a_job_that_may_expire_does_not_begin_by_a_return() -> None:
    again = sent(Release(FENCE), job=message("mail.1", NOW, expires=60))
    assert again.properties.headers == {"outlast-expires-at": NOW + 60}


def test_a_job_that_is_put_off_or_parked_keeps_its_attempt() -> None:
    for settlement in (Release(FENCE, NOW + 8), Park(FENCE, NOW + 8)):
        again = sent(settlement, attempt=2)
        assert (again.exchange, again.properties.headers) == ("outlast.delay.8s", {"outlast-attempt": 2})
