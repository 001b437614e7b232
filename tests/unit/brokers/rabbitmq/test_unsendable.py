"""The dead letter in the place of a message that AMQP cannot carry."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.brokers.rabbitmq.job_form import dead_properties
from outlast.brokers.rabbitmq.unsendable import letter_instead
from outlast.clients.amqp.confirms import AmqpMessage, why_unsendable
from outlast.clients.amqp.properties import MessageProperties, encode_properties
from outlast.core.message import Failure
from tests.support.jobs import message


def letter(bare: bool = False, **properties: Any) -> AmqpMessage:
    """Return the letter of a message in a bucket with these properties, which can be sent."""
    found = letter_instead(
        AmqpMessage("outlast.delay.1s", "mail", b"{}", MessageProperties(**properties)), "a reason", bare=bare
    )
    assert (found.exchange, found.key, found.body) == ("", "mail.dead", b"{}")
    assert why_unsendable(found) == ""
    return found


@pytest.mark.parametrize(
    "headers",
    [{"n" * 256: "x"}, {"x": float("nan")}, {"x": 1 << 70}, {"\ud800": "x"}, {"x": {"y": object()}}],
    ids=["name", "nan", "integer", "surrogate", "object"],
)
def test_a_header_that_cannot_be_sent_is_left_out_and_named(headers: dict[str, Any]) -> None:
    kept = letter(headers={"kept": "yes", **headers}, type="send", message_id="mail.1").properties
    assert {name: kept.headers[name] for name in kept.headers if name != "outlast-reason"} == {
        "kept": "yes",
        "outlast-state": "dead",
    }
    assert str(kept.headers["outlast-reason"]).startswith("it cannot be sent: a reason (left out or cut: header ")
    assert (kept.type, kept.message_id, kept.delivery_mode) == ("send", "mail.1", 2)


def test_texts_and_numbers_that_do_not_fit_are_cut_or_left_out() -> None:
    kept = letter(message_id="ä" * 200, timestamp=-1, priority=300, type="s\ud800").properties
    assert kept.message_id == "ä" * 127
    assert (kept.timestamp, kept.priority, kept.type) == (None, None, "s\\ud800")
    assert "left out or cut: priority, message_id, timestamp, type" in str(kept.headers["outlast-reason"])


def test_the_first_reason_of_a_dead_letter_and_our_headers_come_first() -> None:
    headers = {"large": "x" * 89_990, "outlast-reason": "attempts", "outlast-attempt": 5, "more": "y" * 200}
    kept = letter(headers=headers).properties.headers
    assert str(kept["outlast-reason"]).startswith("attempts; it cannot be sent: a reason")
    assert kept["outlast-attempt"] == 5
    assert "large" not in kept
    assert kept["more"] == "y" * 200


def test_a_bare_letter_fits_into_the_smallest_frame() -> None:
    kept = letter(
        bare=True, headers={"x": "y" * 5000}, message_id="ä" * 127, type="k" * 255, reply_to="r" * 255
    ).properties
    assert len(encode_properties(kept)) < 4000
    assert set(kept.headers) == {"outlast-state", "outlast-reason"}


def test_the_dead_letter_of_a_job_can_hold_any_error() -> None:
    error = Failure(1, 0.0, "E", "half \ud800", traceback="\udfff")
    told = dead_properties(message("mail.1", 0.0), "dead", "why \ud800", 1, error)
    assert told.headers["outlast-error"] == "E: half \\ud800"
    assert encode_properties(told)
