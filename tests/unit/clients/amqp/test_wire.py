"""Frames are taken apart however the bytes come in pieces; what is no AMQP ends the connection and nothing more."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pika import spec
from pika.frame import Body, Header, Heartbeat, Method

from outlast.clients.amqp.address import AmqpAddress, AmqpHost
from outlast.clients.amqp.channel import AmqpChannel, AmqpContent, ChannelEvents
from outlast.clients.amqp.wire import AmqpWire
from outlast.core.errors import StoreUnavailable

CHANNEL = 3


class Heard(ChannelEvents):
    """Keeps all that comes."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def confirmed(self, tag: int, *, multiple: bool, accepted: bool) -> None:
        self.events.append(("confirmed", tag, multiple, accepted))

    def returned(self, code: int, text: str, content: AmqpContent) -> None:
        self.events.append(("returned", code, text, content))

    def delivered(self, tag: int, redelivered: bool, content: AmqpContent) -> None:
        self.events.append(("delivered", tag, redelivered, content))

    def cancelled(self) -> None:
        self.events.append(("cancelled",))


def wire_with(events: ChannelEvents) -> AmqpWire:
    wire = AmqpWire(AmqpAddress(), AmqpHost(), "test")
    wire._channels[CHANNEL] = AmqpChannel(wire, CHANNEL, events)
    return wire


def content(method: Any, body: bytes, pieces: int) -> bytes:
    size = max(1, len(body) // pieces)
    frames = [Method(CHANNEL, method), Header(CHANNEL, len(body), spec.BasicProperties(message_id="m"))]
    frames += [Body(CHANNEL, body[at : at + size]) for at in range(0, len(body), size)]
    return b"".join(frame.marshal() for frame in frames)


bodies = st.binary(max_size=300)
names = st.text(max_size=20)
tags = st.integers(1, 2**63)
deliveries = st.builds(
    lambda tag, again, exchange, key, body, pieces: (
        content(spec.Basic.Deliver("ctag", tag, again, exchange, key), body, pieces),
        ("delivered", tag, again, AmqpContent(exchange, key, b"\x00\x80\x01m", body)),
    ),
    tags,
    st.booleans(),
    names,
    names,
    bodies,
    st.integers(1, 4),
)
returns = st.builds(
    lambda exchange, key, body, pieces: (
        content(spec.Basic.Return(312, "NO_ROUTE", exchange, key), body, pieces),
        ("returned", 312, "NO_ROUTE", AmqpContent(exchange, key, b"\x00\x80\x01m", body)),
    ),
    names,
    names,
    bodies,
    st.integers(1, 4),
)
confirms = st.builds(
    lambda tag, multiple: (
        Method(CHANNEL, spec.Basic.Ack(tag, multiple)).marshal(),
        ("confirmed", tag, multiple, True),
    ),
    tags,
    st.booleans(),
)
refusals = st.builds(
    lambda tag, multiple: (
        Method(CHANNEL, spec.Basic.Nack(tag, multiple)).marshal(),
        ("confirmed", tag, multiple, False),
    ),
    tags,
    st.booleans(),
)
others = st.sampled_from(
    [
        (Heartbeat().marshal(), None),
        (Method(9, spec.Basic.Ack(1)).marshal(), None),  # of a channel that is closed here
        (Method(CHANNEL, spec.Basic.Cancel("ctag", True)).marshal(), ("cancelled",)),
    ]
)


@given(
    st.lists(st.one_of(deliveries, returns, confirms, refusals, others), max_size=12),
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
)
def test_events_are_the_same_however_the_bytes_come(
    sent: list[tuple[bytes, tuple[Any, ...] | None]], sizes: list[int]
) -> None:
    async def run() -> None:
        heard = Heard()
        wire = wire_with(heard)
        data = b"".join(each for each, _ in sent)
        turn = 0
        while data:
            size = sizes[turn % len(sizes)]
            wire.data_received(data[:size])
            data = data[size:]
            turn += 1
        assert heard.events == [event for _, event in sent if event is not None]
        assert not wire.ended.done()

    asyncio.run(run())


@given(st.lists(deliveries, min_size=1, max_size=3), st.data())
def test_a_flipped_byte_ends_no_more_than_the_connection(
    sent: list[tuple[bytes, tuple[Any, ...]]], draw: st.DataObject
) -> None:
    async def run() -> None:
        wire = wire_with(Heard())
        data = bytearray(b"".join(each for each, _ in sent))
        at = draw.draw(st.integers(0, len(data) - 1))
        data[at] ^= draw.draw(st.integers(1, 255))
        wire.data_received(bytes(data))
        wire.data_received(bytes(data))

    asyncio.run(run())


async def test_a_frame_without_its_end_is_told() -> None:
    wire = wire_with(Heard())
    wire.data_received(b"\x03\x00\x03\x00\x00\x00\x01xy")
    wire.connection_lost(None)
    assert isinstance(wire.ended.result(), StoreUnavailable)
    assert str(wire.ended.result()) == "amqp://127.0.0.1:5672/: a frame without its end"
