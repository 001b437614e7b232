"""RabbitMQ carries the malformed messages of the tests, and our codec reads each one or refuses it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from outlast.clients.amqp.properties import MessageProperties, UnreadableHeaders, decode_properties
from outlast.clients.amqp.table import TableError
from tests.support.malformed import Why, malformed_messages, odd_messages
from tests.support.raw_amqp import raw_channel
from tests.support.servers.rabbitmq_server import shared_rabbit

UNREADABLE: set[Why | None] = {"headers", "properties"}


def by_the_sender(properties: bytes) -> MessageProperties:
    """Read the properties but for the header that a quorum queue sets, in the place of the sender's."""
    read = decode_properties(properties)
    return replace(read, headers={name: each for name, each in read.headers.items() if name != "x-delivery-count"})


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_each_arrives_and_is_read_or_refused(kind: str) -> None:
    """One by one: the server ends the connection at a message that it does not take."""
    rabbit = shared_rabbit()
    sent = [*odd_messages("mail", "send"), *malformed_messages("mail", "send", 300)]
    refused = 0
    with rabbit.vhost() as vhost, raw_channel(rabbit.url_of(vhost)) as channel:
        channel.declare("mail", **{"x-queue-type": kind})
        for message in sent:
            channel.publish("", "mail", message.properties, message.body)
            taken = channel.get("mail")
            assert taken is not None
            assert taken[1] == message.body
            try:
                assert by_the_sender(taken[0]) == by_the_sender(message.properties)
            except TableError as error:
                assert message.job in UNREADABLE
                assert isinstance(error, UnreadableHeaders) == (message.job == "headers")
                refused += 1
    assert refused > 50
