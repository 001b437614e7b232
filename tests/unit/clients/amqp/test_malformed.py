"""The malformed messages of the tests are wrong in the way that they say, and in no other."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import msgspec
import pytest
from msgspec import Raw

from outlast.clients.amqp.plain_values import plain_value
from outlast.clients.amqp.properties import MessageProperties, UnreadableHeaders, decode_properties
from outlast.clients.amqp.table import TableError
from outlast.core.bounds import HEADERS_LIMIT
from outlast.core.codec import check_args
from outlast.core.errors import InvalidArguments
from outlast.core.ids import CLIENT_ID, FULL_ID
from outlast.core.kinds import WIRE_KIND
from outlast.core.message import Message
from outlast.core.policy import DEFAULTS
from tests.support.malformed import FIELD_TYPES, MalformedMessage, Why, malformed_messages, odd_messages

QUEUE, KIND = "mail", "send"


def wrong_in_both(message: MalformedMessage) -> tuple[MessageProperties, Why | None]:
    try:
        properties = decode_properties(message.properties)
    except UnreadableHeaders as refused:
        return refused.properties, "headers"
    except TableError:
        return MessageProperties(), "properties"
    headers = properties.headers
    if sum(len(name) + len(str(plain_value(value))) for name, value in headers.items()) > HEADERS_LIMIT:
        return properties, "headers"
    if any(name.startswith("outlast-") for name in headers):
        return properties, "headers"
    return properties, "size" if len(message.body) > DEFAULTS.max_body else None


def wrong_json(body: bytes) -> Why | None:
    """Ask the checks of jobs; they take objects only, so the body is looked at within one."""
    args = Raw(b'{"body":' + body + b"}")
    try:
        if not body.strip():
            return "json"
        check_args(Message(id="q.1", queue="q", kind="k", args=args, enqueued_at=0.0, run_at=0.0))
    except InvalidArguments as refused:
        return "depth" if "deeper" in str(refused) else "json"
    return None


def why_no_job(message: MalformedMessage) -> Why | None:
    properties, why = wrong_in_both(message)
    if why is not None:
        return why
    if not WIRE_KIND.match(properties.type or ""):
        return "kind"
    found = FULL_ID.match(properties.message_id) if properties.message_id is not None else None
    if properties.message_id is not None and (found is None or found[1] != QUEUE):
        return "id"
    why = wrong_json(message.body)
    if why is not None:
        return why
    args: Any = msgspec.json.decode(message.body)
    if not isinstance(args, dict):
        return "object"
    return None if set(args) == {"number"} and type(args["number"]) is int else "arguments"


def why_no_event(message: MalformedMessage) -> Why | None:
    properties, why = wrong_in_both(message)
    if why is not None:
        return why
    given = properties.message_id
    if given is not None and not CLIENT_ID.match(given.removeprefix(f"{QUEUE}.")):
        return "id"
    why = wrong_json(message.body)
    if why is not None:
        return why
    event: Any = msgspec.json.decode(message.body)
    fits = isinstance(event, dict) and all(type(each) is int for each in event.values())
    return None if fits else "arguments"


@pytest.mark.parametrize("seed", [0, 1])
def test_each_is_wrong_in_the_way_that_it_says(seed: int) -> None:
    messages = list(malformed_messages(QUEUE, KIND, seed=seed))
    wrong = [
        (each.name, each.job, why_no_job(each), each.event, why_no_event(each))
        for each in messages
        if (each.job, each.event) != (why_no_job(each), why_no_event(each))
    ]
    assert wrong == []
    assert len(messages) == 1000
    counted = Counter(each.job for each in messages)
    assert set(counted) == set(get_args(Why))
    assert None not in counted


def test_what_is_odd_is_not_wrong() -> None:
    messages = list(odd_messages(QUEUE, KIND))
    assert [
        (each.name, why_no_job(each), why_no_event(each)) for each in messages if why_no_job(each) or why_no_event(each)
    ] == []
    assert {each.name for each in messages} >= {f"a header of {name}" for name in FIELD_TYPES}
    assert len({each.name for each in messages}) == len(messages)


def test_a_seed_makes_the_same_messages_each_time() -> None:
    def some(seed: int) -> list[MalformedMessage]:
        return [each for each in malformed_messages(QUEUE, KIND, 200, seed) if len(each.body) < 100_000]

    assert some(7) == some(7) != some(8)
