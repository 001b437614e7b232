"""What is refused of exchanges, bindings and events, with setting and fix; what is accepted, as plain values."""

from __future__ import annotations

import math
from enum import IntEnum, StrEnum
from typing import Any

import pytest

from outlast.core.errors import ConfigurationError, InvalidEvent
from outlast.core.exchanges import checks
from outlast.core.exchanges.values import Exchange

TOPIC, DIRECT, FANOUT, HEADERS = (Exchange(name="x", type=each) for each in ("topic", "direct", "fanout", "headers"))


class Region(StrEnum):
    EU = "eu"


class Level(IntEnum):
    HIGH = 3


def test_what_an_exchange_may_be() -> None:
    assert checks.checked_exchange("a.b-c_D9") == Exchange(name="a.b-c_D9")
    kept = checks.checked_exchange("x" * 53, "headers", "keep")
    assert kept == Exchange(name="x" * 53, type="headers", unroutable="keep")
    assert checks.checked_exchange("x" * 127).name == "x" * 127
    assert type(checks.checked_exchange(Region.EU).name) is str


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("",), "exchange name '': use 1 to 127 letters"),
        ((None,), "exchange name None: use 1 to 127"),
        (("x" * 128,), "use 1 to 127 letters"),
        (("a b",), "use 1 to 127 letters"),
        (("größe",), "use 1 to 127 letters"),
        (("a\n",), "use 1 to 127 letters"),
        (("amq.topic",), r"RabbitMQ keeps the names that begin with 'amq\.': give another"),
        (("x", "topik"), "exchange 'x': type='topik' must be one of 'direct', 'topic', 'fanout', 'headers'"),
        (("x", ["topic"]), "must be one of"),
        (("x", "topic", "drop"), "exchange 'x': unroutable='drop' must be 'refuse' or 'keep'"),
        (
            ("a.b", "topic", "keep"),
            r"unroutable='keep' needs a queue and a kind of jobs 'a\.b-unroutable'.*without dots",
        ),
        (("x" * 54, "topic", "keep"), "give the exchange such a name, shorter"),
        (("1st", "topic", "keep"), "that begin with a letter or '_'"),
    ],
)
def test_what_an_exchange_may_not_be(settings: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        checks.checked_exchange(*settings)


def test_what_a_binding_may_have() -> None:
    assert checks.checked_binding(TOPIC, "a.*.#") == ("a.*.#", {})
    assert checks.checked_binding(DIRECT, "") == ("", {})
    assert checks.checked_binding(FANOUT) == ("", {})
    assert checks.checked_binding(TOPIC, "é" * 127 + "e") == ("é" * 127 + "e", {})
    arguments = {"x-match": "any-with-x", "a": None, "b": 1.5, "c": True, "d": Level.HIGH, Region.EU: Region.EU}
    key, plain = checks.checked_binding(HEADERS, "", arguments)
    assert (key, plain) == ("", {"x-match": "any-with-x", "a": None, "b": 1.5, "c": True, "d": 3, "eu": "eu"})
    assert [type(each) for pair in list(plain.items())[4:] for each in pair] == [str, int, str, str]


@pytest.mark.parametrize(
    ("exchange", "given", "said"),
    [
        (TOPIC, ("a" * 256,), "binding to topic exchange 'x': key='a.* has 256 bytes of UTF-8, and AMQP carries 255"),
        (TOPIC, ("é" * 128,), "has 256 bytes"),
        (TOPIC, (7,), "key=7 must be text of at most 255 bytes"),
        (TOPIC, ("\ud800",), "half a character"),
        (TOPIC, ("a", {"b": 1}), "arguments {'b': 1} have no effect: leave them out, or .* type='headers'"),
        (DIRECT, ("a", {"x-match": "all"}), "have no effect"),
        (FANOUT, ("a",), "fanout exchange 'x': key='a' has no effect.*leave the key out, or .* type='topic'"),
        (HEADERS, ("a", {"b": 1}), "headers exchange 'x': key='a' has no effect.*give arguments"),
        (HEADERS, ("", {"x-match": "some"}), "x-match='some' must be one of 'all', 'any', 'all-with-x', 'any-with-x'"),
        (HEADERS, ("", {"x-match": None}), "x-match=None must be one of"),
        (HEADERS, ("", {"x-match": True}), "x-match=True must be one of"),
        (HEADERS, ("", [("a", 1)]), "must be a dict"),
        (HEADERS, ("", {"a": [1]}), r"header 'a'=\[1\] of type list: give text, a number, a bool or None"),
        (HEADERS, ("", {"a": b"1"}), "of type bytes"),
        (HEADERS, ("", {"a": 2**63}), "does not fit into 64 bits: give it as text"),
        (HEADERS, ("", {"a": math.nan}), "give a finite number"),
        (HEADERS, ("", {"a": -math.inf}), "give a finite number"),
        (HEADERS, ("", {"a": "\udfff"}), "half a character"),
        (HEADERS, ("", {"": 1}), "header name '' must be text of 1 to 255 bytes"),
        (HEADERS, ("", {"é" * 128: 1}), "must be text of 1 to 255 bytes"),
        (HEADERS, ("", {1: 1}), "header name 1 must be text"),
        (HEADERS, ("", {"CC": "a"}), "header 'CC': RabbitMQ reads it as a list of further routing keys"),
        (HEADERS, ("", {"a": "b" * 8000}), "arguments of 8001 characters: give at most 7168"),
    ],
)
def test_what_a_binding_may_not_have(exchange: Exchange, given: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        checks.checked_binding(exchange, *given)
    assert type(refused.value) is ConfigurationError  # of the code, not of a client


def test_what_an_event_may_have() -> None:
    assert checks.checked_event_key("x", "a.*") == "a.*"
    assert checks.checked_event_headers("x", None) == {}
    headers = {"x-a": -(2**63), "b": "c" * 7000, "d": 0.5}
    assert checks.checked_event_headers("x", headers) == headers


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"outlast-key": "a"}, "event for exchange 'x': header 'outlast-key': names that begin with 'outlast-'"),
        ({"BCC": "a"}, "further routing keys"),
        ({"a": "b" * 7168}, "headers of 7169 characters: give at most 7168, and put the rest into the body"),
        ({"a": {}}, "of type dict"),
        ("a", "headers='a' must be a dict"),
    ],
)
def test_what_an_event_may_not_have(headers: Any, said: str) -> None:
    with pytest.raises(InvalidEvent, match=said) as refused:
        checks.checked_event_headers("x", headers)
    assert (refused.value.part, isinstance(refused.value, ConfigurationError)) == ("headers", True)
    with pytest.raises(InvalidEvent, match=r"event for exchange 'x': key='k+.* has 300 bytes"):
        checks.checked_event_key("x", "k" * 300)


def test_a_header_is_text_in_a_job() -> None:
    values = ("a", "1", 1, 1.5, True, None)
    assert [checks.header_text(each) for each in values] == ["a", "1", "1", "1.5", "true", "null"]
