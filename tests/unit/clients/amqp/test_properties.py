"""The properties of a message: each is read as it was written, and bytes that are none are refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.spec import BasicProperties

from outlast.clients.amqp.properties import (
    MessageProperties,
    UnreadableHeaders,
    decode_properties,
    encode_properties,
)
from outlast.clients.amqp.table import TableError, encode_table

SHORT = st.none() | st.text(max_size=60)
OCTET = st.none() | st.integers(0, 255)
PROPERTIES = st.builds(
    MessageProperties,
    headers=st.dictionaries(st.text(max_size=9), st.text() | st.integers(-9, 9) | st.none(), max_size=4),
    delivery_mode=OCTET,
    priority=OCTET,
    timestamp=st.none() | st.integers(0, 2**64 - 1),
    **dict.fromkeys(
        (
            "content_type",
            "content_encoding",
            "correlation_id",
            "reply_to",
            "expiration",
            "message_id",
            "type",
            "user_id",
            "app_id",
            "cluster_id",
        ),
        SHORT,
    ),
)
EVERY = MessageProperties(
    content_type="application/json",
    content_encoding="gzip",
    headers={"a": "1", "b": [True, None]},
    delivery_mode=2,
    priority=9,
    correlation_id="c",
    reply_to="r",
    expiration="60000",
    message_id="mail.1",
    timestamp=1_700_000_000,
    type="send",
    user_id="guest",
    app_id="shop",
    cluster_id="",
)


def as_dict(properties: MessageProperties) -> dict[str, Any]:
    return {name: value for name in properties.__struct_fields__ if (value := getattr(properties, name)) is not None}


@given(PROPERTIES)
def test_what_is_encoded_is_decoded_unchanged(properties: MessageProperties) -> None:
    assert decode_properties(encode_properties(properties)) == properties


@given(PROPERTIES)
def test_another_codec_reads_and_writes_the_same_bytes(properties: MessageProperties) -> None:
    given = as_dict(properties)
    if not given["headers"]:
        del given["headers"]
    theirs = BasicProperties(**given)
    decoded = BasicProperties()
    decoded.decode(encode_properties(properties))
    assert decoded == theirs
    theirs.headers = None if theirs.headers is None else dict.fromkeys(theirs.headers, "text")
    properties = decode_properties(b"".join(theirs.encode()))
    assert as_dict(properties) == {"headers": {}} | {k: v for k, v in vars(theirs).items() if v is not None}


def test_all_properties_are_read() -> None:
    assert all(value is not None for value in as_dict(EVERY).values())
    assert len(as_dict(EVERY)) == 14
    assert decode_properties(encode_properties(EVERY)) == EVERY


def test_no_properties_are_two_bytes() -> None:
    assert encode_properties(MessageProperties()) == b"\0\0"
    assert decode_properties(b"\0\0") == MessageProperties()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the properties are cut"),
        (b"\x80", "the properties are cut"),
        (b"\x80\0", "the properties are cut"),
        (b"\x80\0\5abc", "the properties are cut"),
        (b"\x80\0\2\xff\xff", "a property is not UTF-8"),
        (b"\x10\0", "the properties are cut"),
        (b"\0\x40\0\0\0\0", "the properties are cut"),
        (b"\x10\0\2x", "1 bytes follow the properties"),
        (b"\x00\x01\0\0", "the flags 0x0001 name properties that AMQP 0-9-1 has not"),
        (b"\x00\x02", "the flags 0x0002 name properties that AMQP 0-9-1 has not"),
        (b"\x20\0\0\0", "the length of the table is cut"),
        (b"\x20\0\0\0\0\5ab", "the table is cut: 2 of 5 bytes"),
    ],
)
def test_what_are_no_properties_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(TableError) as refused:
        decode_properties(data)
    assert str(refused.value) == reason
    assert not isinstance(refused.value, UnreadableHeaders)


def test_beside_headers_that_cannot_be_read_the_others_are() -> None:
    headers = encode_table({"a": "1", "b": [True, None]})
    data = encode_properties(EVERY)
    assert data.count(headers) == 1
    with pytest.raises(UnreadableHeaders) as refused:
        decode_properties(data.replace(headers, headers.replace(b"V", b"Z")))
    assert str(refused.value) == "headers: a value has the unknown type 0x5a"
    assert as_dict(refused.value.properties) == as_dict(EVERY) | {"headers": {}}


def read_or_refused(data: bytes) -> MessageProperties | None:
    try:
        return decode_properties(data)
    except TableError as refused:
        assert 0 < len(str(refused)) < 100
        return None


def test_no_properties_that_are_cut_are_read() -> None:
    data = encode_properties(EVERY)
    assert [end for end in range(len(data)) if read_or_refused(data[:end]) is not None] == []


def test_every_flipped_bit_is_read_or_refused() -> None:
    data = encode_properties(EVERY)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        read_or_refused(bytes(flipped))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_or_refused(data)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (MessageProperties(type="ü" * 128), "type: 256 bytes in UTF-8: at most 255 are possible"),
        (MessageProperties(priority=256), "priority: 256 is out of range: 0 to 255"),
        (MessageProperties(delivery_mode=-1), "delivery_mode: -1 is out of range: 0 to 255"),
        (MessageProperties(timestamp=2**64), f"timestamp: {2**64} is out of range: 0 to {2**64 - 1}"),
        (MessageProperties(app_id="\ud800"), "'\\ud800' is not Unicode text: it has half of a surrogate pair"),
    ],
)
def test_what_has_no_form_is_refused_with_the_reason(properties: MessageProperties, reason: str) -> None:
    with pytest.raises(TableError) as refused:
        encode_properties(properties)
    assert str(refused.value) == reason
