"""Publish, then acknowledge: what is not confirmed is repeated, and nothing is acknowledged before its messages are."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, cast

import pytest
from msgspec import structs

from outlast.brokers.rabbitmq.late import DueMessages, publish_then_settle
from outlast.brokers.rabbitmq.waits import SettlementWaits
from outlast.clients.amqp.confirms import AmqpMessage, Publishing
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.clients.amqp.properties import MessageProperties
from outlast.clients.amqp.table import TableError
from outlast.core.errors import ConfigurationError, StoreUnavailable

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
        self.now = 0.0
        self.waits = SettlementWaits(lambda: self.now)
        self.ends_at = 0

    def due(self, tag: int, *bodies: str, epoch: int = 1) -> DueMessages:
        delivery = AmqpDelivery("q", epoch, tag, False, "", "q", b"", b"")
        feed: Any = self.feed
        return DueMessages(feed, [AmqpMessage("", "q", body.encode()) for body in bodies], delivery, tag)

    async def go(self, *due: DueMessages) -> None:
        async def sleep(seconds: float) -> None:
            self.slept += 1
            self.now += seconds
            if self.slept == self.ends_at:
                self.feed.ended_epoch = 1

        def settled(done: Sequence[DueMessages]) -> None:
            self.settled += [(len(self.publisher.sent), each.delivery.tag) for each in done]

        await publish_then_settle(due, cast(Any, self.publisher), settled, Random(1), self.waits, sleep=sleep)


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
    assert caplog.messages == [
        "settlements wait, the first of queue 'q': away",
        "no settlement waits any more, after 0.2 s",
    ]


async def test_a_delivery_whose_channel_has_ended_is_given_up() -> None:
    """The server has it back: its retry would be there twice."""
    run = Run([NO])
    run.ends_at = 1
    await run.go(run.due(1, "a"))
    assert (run.publisher.sent, run.settled) == ([[b"a"]], [])


def headed(run: Run, tag: int, name: str) -> DueMessages:
    """Return a delivery with one message that has a header of this name."""
    due = run.due(tag, "a")
    due.messages[0] = structs.replace(due.messages[0], properties=MessageProperties(headers={name: "x"}))
    return due


async def test_what_amqp_cannot_say_becomes_a_dead_letter_once_and_its_neighbours_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = Run(TableError("the name has 300 bytes"), [OK, OK])
    bad = headed(run, 1, "n" * 300)
    await run.go(bad, run.due(2, "b"))
    assert (run.settled, run.slept) == ([(2, 1), (2, 2)], 0)
    assert bad.messages[0].key == "q.dead"
    assert "'q.dead'" in caplog.text
    assert len(caplog.messages) == 1


async def test_headers_beyond_a_frame_are_left_out_of_the_second_letter() -> None:
    never = Publishing("unsent", "its properties have 9999 bytes", never=True)
    run = Run([never], [never], [OK])
    bad = headed(run, 1, "name")
    await run.go(bad)
    assert (run.settled, run.slept) == ([(3, 1)], 0)
    assert set(bad.messages[0].properties.headers) == {"outlast-state", "outlast-reason"}


async def test_a_refusal_that_is_no_fault_of_a_message_is_waited_for() -> None:
    run = Run(ConfigurationError("queue 'q.dead' exists with another argument"), [OK])
    due = run.due(1, "a")
    await run.go(due)
    assert (due.messages[0].key, run.settled, run.slept) == ("q", [(2, 1)], 1)
