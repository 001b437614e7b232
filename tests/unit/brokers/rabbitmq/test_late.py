"""Publish, then acknowledge: what is not confirmed is repeated, and nothing is acknowledged before its messages are."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, cast

import pytest

from outlast.brokers.rabbitmq.late import DueMessages, publish_then_settle
from outlast.clients.amqp.confirms import AmqpMessage, Publishing
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.core.errors import StoreUnavailable

OK, NO = Publishing("confirmed"), Publishing("nacked", "full")


class Feed:
    """The queue of the deliveries."""

    queue = "q"
    ended_epoch = 0


class Publisher:
    """Answers as told, and notes what was published."""

    def __init__(self, *answers: list[Publishing] | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[list[bytes]] = []

    async def publish(self, messages: Sequence[AmqpMessage], timeout: float) -> list[Publishing]:
        self.sent.append([each.body for each in messages])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Run:
    """One call, and what it acknowledged after which attempt."""

    def __init__(self, *answers: list[Publishing] | Exception) -> None:
        self.feed = Feed()
        self.publisher = Publisher(*answers)
        self.settled: list[tuple[int, int]] = []
        self.slept = 0
        self.ends_at = 0

    def due(self, tag: int, *bodies: str, epoch: int = 1) -> DueMessages:
        delivery = AmqpDelivery("q", epoch, tag, False, "", "q", b"", b"")
        feed: Any = self.feed
        return DueMessages(feed, [AmqpMessage("", "q", body.encode()) for body in bodies], delivery, tag)

    async def go(self, *due: DueMessages) -> None:
        async def sleep(seconds: float) -> None:
            self.slept += 1
            if self.slept == self.ends_at:
                self.feed.ended_epoch = 1

        def settled(done: Sequence[DueMessages]) -> None:
            self.settled += [(len(self.publisher.sent), each.delivery.tag) for each in done]

        await publish_then_settle(due, cast(Any, self.publisher), settled, Random(1), sleep)


async def test_all_in_one_call_and_one_acknowledgement_each() -> None:
    run = Run([OK, OK, OK])
    await run.go(run.due(1, "a", "b"), run.due(2, "c"))
    assert run.publisher.sent == [[b"a", b"b", b"c"]]
    assert (run.settled, run.slept) == ([(1, 1), (1, 2)], 0)


async def test_what_is_not_confirmed_is_repeated_and_nothing_else() -> None:
    run = Run([OK, NO, OK], [OK])
    await run.go(run.due(1, "a", "b"), run.due(2, "c"))
    assert run.publisher.sent == [[b"a", b"b", b"c"], [b"b"]]
    assert run.settled == [(1, 2), (2, 1)]


async def test_an_error_is_a_pause_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(StoreUnavailable("away"), StoreUnavailable("away"), [OK])
    await run.go(run.due(1, "a"))
    assert (run.settled, run.slept) == ([(3, 1)], 2)
    assert caplog.messages == ["settlements of queue 'q' wait: away"]


async def test_a_delivery_whose_channel_has_ended_is_given_up() -> None:
    """The server has it back: its retry would be there twice."""
    run = Run([NO])
    run.ends_at = 1
    await run.go(run.due(1, "a"))
    assert (run.publisher.sent, run.settled) == ([[b"a"]], [])
