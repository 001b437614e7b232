"""Frames that are written here are those that pika reads, and names over 255 bytes are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pika import spec
from pika.frame import Body, Header, Method, decode_frame

from outlast.clients.amqp import methods
from outlast.clients.amqp.frames import acknowledge, message_frames, publish_method, return_to_queue
from outlast.clients.amqp.properties import MessageProperties, encode_properties
from outlast.core.errors import ConfigurationError


def frames(data: bytes) -> list[Any]:
    found = []
    while data:
        used, frame = decode_frame(data)
        assert used
        found.append(frame)
        data = data[used:]
    return found


@pytest.mark.parametrize("size", [0, 1, 4088, 4089, 20_000])
def test_a_message_is_cut_into_frames(size: int) -> None:
    body = bytes(n % 251 for n in range(size))
    header = encode_properties(MessageProperties(message_id="m", delivery_mode=2))
    method, head, *pieces = frames(message_frames(7, publish_method(7, "ex", "a.é"), header, body, 4096))
    assert isinstance(method, Method)
    assert (method.channel_number, method.method.exchange, method.method.routing_key) == (7, "ex", "a.é")
    assert method.method.mandatory
    assert isinstance(head, Header)
    assert (head.body_size, head.properties.message_id, head.properties.delivery_mode) == (size, "m", 2)
    assert all(isinstance(piece, Body) and len(piece.marshal()) <= 4096 for piece in pieces)
    assert b"".join(piece.fragment for piece in pieces) == body


@pytest.mark.parametrize("multiple", [False, True])
def test_settlements_are_what_pika_reads(multiple: bool) -> None:
    (ack,) = frames(acknowledge(3, 2**40, multiple=multiple))
    assert ack == Method(3, spec.Basic.Ack(2**40, multiple))
    for requeue in (False, True):
        (nack,) = frames(return_to_queue(3, 5, multiple=multiple, requeue=requeue))
        assert nack == Method(3, spec.Basic.Nack(5, multiple, requeue))


@pytest.mark.parametrize(("exchange", "key"), [("é" * 128, ""), ("", "k" * 256)])
def test_a_name_that_does_not_fit_is_refused(exchange: str, key: str) -> None:
    with pytest.raises(ConfigurationError, match="256 bytes in UTF-8: give at most 255"):
        publish_method(1, exchange, key)


def test_declarations_refuse_names_that_do_not_fit() -> None:
    with pytest.raises(ConfigurationError, match="256 bytes in UTF-8: give at most 255"):
        methods.bind_queue("q", "ex", "k" * 256, {})


def test_arguments_are_encoded_by_our_codec() -> None:
    method = methods.bind_queue("q", "ex", "k", {"price": 1.5})
    read = spec.Queue.Bind().decode(b"".join(method.encode()[:-1]) + b"\0\0\0\0")
    assert (read.queue, read.exchange, read.routing_key) == ("q", "ex", "k")
    assert method.encode()[-1] == b"\x00\x00\x00\x0f\x05priced\x3f\xf8" + b"\0" * 6
