"""Confirms and returns reach the message that they are about."""

from __future__ import annotations

import pytest

from outlast.clients.amqp.address import AmqpAddress, AmqpHost
from outlast.clients.amqp.channel import AmqpChannel, AmqpContent
from outlast.clients.amqp.confirms import AmqpMessage, ConfirmChannel, PublishBatch
from outlast.clients.amqp.properties import MessageProperties
from outlast.clients.amqp.window import SendWindow
from outlast.clients.amqp.wire import AmqpWire
from outlast.core.errors import StoreUnavailable


class Sending:
    """A channel without a server, on which a batch was sent."""

    def __init__(self, *messages: AmqpMessage) -> None:
        wire = AmqpWire(AmqpAddress(), AmqpHost(), "test")
        self.window = SendWindow(100, 10_000)
        self.channel = ConfirmChannel("", self.window)
        self.channel._channel = self.raw = AmqpChannel(wire, 1, self.channel)
        self.raw.ended.add_done_callback(lambda ended: self.channel._end(ended.result()))
        self.batch = PublishBatch(messages)
        wire.frame_max = 4096
        for place in range(len(messages)):
            self.window.count += 1
            self.window.size += self.batch.sizes[place]
            self.channel.send(self.batch, place)

    def returned(self, place: int) -> None:
        """Return a message, as the server does before it confirms it."""
        sent = self.batch.messages[place]
        content = AmqpContent(sent.exchange, sent.key, self.batch.headers[place], sent.body)
        self.channel.returned(312, "NO_ROUTE", content)

    @property
    def outcomes(self) -> list[str | None]:
        return [None if answer is None else answer.outcome for answer in self.batch.answers]


def message(key: str, body: bytes = b"", name: str | None = None) -> AmqpMessage:
    return AmqpMessage("", key, body, MessageProperties(message_id=name))


async def test_one_confirm_may_be_for_many() -> None:
    sending = Sending(*(message("q") for _ in range(5)))
    sending.channel.confirmed(2, multiple=False, accepted=False)
    assert sending.outcomes == [None, "nacked", None, None, None]
    sending.channel.confirmed(4, multiple=True, accepted=True)
    assert sending.outcomes == ["confirmed", "nacked", "confirmed", "confirmed", None]
    sending.channel.confirmed(0, multiple=True, accepted=True)  # all that there is
    assert sending.outcomes[4] == "confirmed"
    assert (sending.window.count, sending.window.size) == (0, 0)


async def test_equal_messages_are_returned_one_by_one() -> None:
    sending = Sending(message("a"), message("a"), message("b"), message("a"))
    for place in (0, 1, 2, 3):
        sending.returned(place)
    sending.channel.confirmed(4, multiple=True, accepted=True)
    assert sending.outcomes == ["returned"] * 4


@pytest.mark.parametrize("other", [message("b"), message("a", b"x"), message("a", b"", "m")])
async def test_a_return_passes_over_what_differs(other: AmqpMessage) -> None:
    sending = Sending(other, message("a"), other, message("a"))
    sending.returned(1)
    sending.returned(3)
    sending.channel.confirmed(4, multiple=True, accepted=True)
    assert sending.outcomes == ["confirmed", "returned", "confirmed", "returned"]


async def test_what_has_no_confirm_at_the_end_of_the_channel_is_unknown() -> None:
    sending = Sending(message("a"), message("a"))
    sending.channel.confirmed(1, multiple=False, accepted=True)
    sending.raw.end(StoreUnavailable("gone"))
    await sending.batch.wait()
    assert sending.outcomes == ["confirmed", "unknown"]
    assert sending.window.count == 0
    with pytest.raises(StoreUnavailable):
        sending.channel.send(sending.batch, 0)


async def test_what_is_old_is_given_up() -> None:
    sending = Sending(message("a"), message("a"))
    sending.channel.give_up(before=0.0)
    assert sending.outcomes == [None, None]
    sending.channel.give_up(before=float("inf"))
    assert sending.outcomes == ["unknown", "unknown"]
    sending.channel.confirmed(2, multiple=True, accepted=True)
    assert sending.outcomes == ["unknown", "unknown"]
    assert sending.window.count == 0
