"""The wire format: what goes out comes back, and what is wrong is named."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.bounds import KEY_LIMIT, LAST_MOMENT, NESTED_LIMIT
from outlast.core.claims import Claim, claim_json
from outlast.core.codec import (
    EMPTY_ARGS,
    are_plain,
    changed_args,
    check,
    check_args,
    decode,
    encode,
    encode_value,
    redact_args,
    scrub,
)
from outlast.core.errors import ConfigurationError, InvalidArguments, WireError
from outlast.core.message import Message
from outlast.core.unique import Unique

finite = st.floats(allow_nan=False, allow_infinity=False)
moment = st.floats(0.0, LAST_MOMENT)
text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)
uniques = st.builds(
    Unique,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=KEY_LIMIT),
    st.sampled_from(["start", "finish"]),
    st.none() | st.floats(0.001, 1e9),
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    queue = draw(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
    return Message(
        id=f"{queue}.{draw(st.from_regex(r'[A-Za-z0-9_.:-]{1,40}', fullmatch=True))}",
        queue=queue,
        kind=draw(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}", fullmatch=True)),
        args=encode_value(draw(st.dictionaries(text, values, max_size=4))),
        enqueued_at=draw(moment),
        run_at=draw(moment),
        priority=draw(st.sampled_from(["high", "normal", "low"])),
        key=draw(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=KEY_LIMIT)),
        unique=draw(st.none() | uniques),
        expires_at=draw(st.none() | moment),
        headers=draw(st.none() | st.dictionaries(text, text, max_size=3)),
        redacted=tuple(draw(st.lists(text, max_size=3))),
    )


@given(messages())
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    body = encode(message)
    assert decode(body) == message
    assert encode(decode(body)) == body
    json.loads(body)  # any JSON reader can read it


LEAST: dict[str, Any] = {
    "id": "mail.1",
    "queue": "mail",
    "kind": "send",
    "args": {"to": "a@b.c"},
    "enqueued_at": 1.5,
    "run_at": 2,
}


def wire(**changes: Any) -> bytes:
    return json.dumps({**LEAST, **changes}).encode()


def test_ten_lines_of_another_language_can_send_a_job() -> None:
    message = decode(wire())
    assert (message.id, message.priority, message.key, message.unique) == ("mail.1", "normal", None, None)
    assert msgspec.json.decode(message.args) == {"to": "a@b.c"}


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert decode(wire(invented="later")) == decode(wire())


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "not a job"),
        (b"{", "not a job"),
        (b"[]", "not a job"),
        (b"\xff", "not a job"),
        (wire(id=7), r"\$\.id"),
        (wire(run_at="soon"), r"\$\.run_at"),
        (wire(priority="urgent"), r"\$\.priority"),
        (wire(unique={"key": ""}), "unique key"),
        (wire(headers={"a": 1}), r"\$\.headers"),
        (wire(headers={"a": "x" * 8192}), "headers of 8193 characters: give at most 8192"),
        (json.dumps({k: v for k, v in LEAST.items() if k != "kind"}).encode(), "kind"),
        (wire(id="mail"), "give an id of the form 'queue.rest'"),
        (wire(id="mail." + "x" * 129), "give an id of the form 'queue.rest'"),
        (wire(key="x" * (KEY_LIMIT + 1)), "key of 513 characters"),
        (wire(unique={"key": "x" * (KEY_LIMIT + 1)}), "unique key of 513 characters"),
        (wire(unique={"key": "x", "seconds": 1e11}), "seconds"),
        (wire(run_at=LAST_MOMENT + 1), "run_at=.*the year 9999"),
        (wire(expires_at=1e300), "expires_at=.*the year 9999"),
        (wire(enqueued_at=-1), "enqueued_at=-1.0: give"),
        (wire(key="KEY").replace(b"KEY", b"\\ud800"), "not a job"),
        (wire(key="KEY").replace(b"KEY", b"\xed\xa0\x80"), "not a job"),
        (wire(id="post.1"), "does not belong to queue 'mail'"),
        (wire(kind="1send"), "kind '1send'"),
        (wire(kind="x" * 129), "1 to 128 letters"),
        (wire(args=[1]), "args must be a JSON object"),
        (wire(args=None), "args must be a JSON object"),
        (b'{"id":"mail.1","queue":"mail","kind":"send","args":{},"enqueued_at":1,"run_at":1e999}', "finite|run_at"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, named: str) -> None:
    with pytest.raises(WireError, match=named):
        decode(body)


@pytest.mark.parametrize("name", ["enqueued_at", "run_at", "expires_at"])
def test_times_must_be_finite(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"enqueued_at": 1.0, "run_at": 1.0, "expires_at": None, name: float("inf")}
    endless = Message(id="mail.1", queue="mail", kind="send", args=EMPTY_ARGS, **times)  # type: ignore[arg-type]

    class Lenient:
        def decode(self, body: bytes) -> Message:
            return endless

    monkeypatch.setattr("outlast.core.codec._messages", Lenient())
    with pytest.raises(WireError, match=f"{name}=inf: give"):
        decode(b"")


def test_redacted_arguments_are_masked_and_others_shown() -> None:
    args = encode_value({"card": "4111", "n": 1})
    assert redact_args(args, ("card", "absent")) == {"card": "[redacted]", "n": 1}
    assert redact_args(args, ()) == {"card": "4111", "n": 1}


def test_scrub_removes_every_secret_and_nothing_of_a_longer_one_remains() -> None:
    assert scrub("pin 1234, card 12345678", ("1234", "12345678", "")) == "pin [redacted], card [redacted]"
    assert scrub("abcdefgh, 12345", ("abcde", "defgh", "12345")) == "[redacted], [redacted]"
    assert scrub("nothing here", ()) == "nothing here"


def test_scrub_does_not_care_about_upper_and_lower_case() -> None:
    assert scrub("no HUNTER2 \u0130 and Hunter2", ("hunTer2",)) == "no [redacted] \u0130 and [redacted]"
    assert scrub("the \u0130stanbul", ("\u0130stanbul",)) == "the [redacted]"


def test_scrub_leaves_the_text_around_a_short_secret() -> None:
    """A password of one letter, or a PIN: it is masked where it stands alone."""
    assert scrub("a cat has a hat: 'a'", ("a",)) == "[redacted] cat has [redacted] hat: '[redacted]'"
    assert scrub("pin=123, order 91234, 123", ("123",)) == "pin=[redacted], order 91234, [redacted]"
    assert scrub("redacted", tuple("redact[]")) == "redacted"
    assert scrub("  x", (" ", "  ", "\n")) == "  x"


def test_a_mask_is_not_masked_again() -> None:
    assert scrub("the password", ("password", "redacted", "red", "d")) == "the [redacted]"


@given(text, st.lists(text, max_size=3))
def test_scrub_leaves_none_of_them_whole(shown: str, secrets: list[str]) -> None:
    left = scrub(shown, secrets).split("[redacted]")
    for secret in secrets:
        if len(secret) > 3 and secret.strip():
            assert not any(secret in part for part in left)


@given(text, st.lists(text, min_size=1, max_size=3), text)
def test_scrub_takes_a_secret_from_wherever_it_stands(before: str, secrets: list[str], after: str) -> None:
    for secret in secrets:
        if len(secret) > 3 and secret.strip():
            assert secret not in scrub(f"{before}{secret}{after}", secrets).replace("[redacted]", "\0")


def test_changed_arguments_leave_the_others_as_they_were() -> None:
    args = encode_value({"n": 1, "deep": {"a": 1}, "card": "4111"})
    assert changed_args(args, encode_value({"n": None, "deep": {"b": 2}, "new": 3})) == encode_value(
        {"n": None, "deep": {"b": 2}, "card": "4111", "new": 3}
    )


def test_arguments_in_the_object_store_cannot_be_changed_one_by_one() -> None:
    reference = claim_json(Claim("args-0123456789abcdef", 5, "a" * 64))
    with pytest.raises(InvalidArguments, match=r"in the object store.*give all of them \(--args\)"):
        changed_args(reference, encode_value({"n": 1}))


PLAIN = Message(id="q.1", queue="q", kind="send", args=encode_value({"n": [1]}), enqueued_at=1.0, run_at=2.0)


def test_plain_messages_are_told_from_those_that_need_a_closer_look() -> None:
    assert are_plain([])
    assert are_plain([PLAIN, msgspec.structs.replace(PLAIN, id="q.2", run_at=0.0, enqueued_at=LAST_MOMENT)])


@pytest.mark.parametrize(
    "change",
    [
        {"key": "k"},
        {"unique": Unique("k")},
        {"headers": {"a": "b"}},
        {"expires_at": 9.0},
        {"redacted": ("n",)},
        {"priority": "high"},
        {"run_at": 2},
        {"enqueued_at": 1},
        {"run_at": -0.5},
        {"enqueued_at": -0.5},
        {"run_at": LAST_MOMENT * 2},
        {"enqueued_at": LAST_MOMENT * 2},
        {"run_at": float("nan")},
        {"id": b"q.1"},
        {"queue": b"q"},
        {"kind": b"send"},
        {"id": "q"},
        {"id": "r.1"},
        {"kind": "a b"},
        {"args": msgspec.Raw(b"[1]")},
        {"args": msgspec.Raw(b"{")},
        {"args": msgspec.Raw(b'{"a":"\xff"}')},
        {"args": msgspec.Raw(b'{"a":' * (NESTED_LIMIT + 2) + b"1" + b"}" * (NESTED_LIMIT + 2))},
    ],
)
def test_one_that_is_not_plain_is_found_among_others(change: dict[str, Any]) -> None:
    odd = msgspec.structs.replace(PLAIN, **change)
    assert not are_plain([odd])
    assert not are_plain([PLAIN, odd, PLAIN])


@given(messages())
def test_what_is_called_plain_passes_all_checks(message: Message) -> None:
    if are_plain([message]):
        check(message)
        check_args(message)
        assert decode(encode(message)) == message


@pytest.mark.parametrize("priority", ["urgent", "", None, 1])
def test_a_priority_is_one_of_three(priority: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"priority=.*: give 'high', 'normal' or 'low'"):
        check(msgspec.structs.replace(PLAIN, priority=priority))


class Text(str):
    """Text that may print as another text."""


@pytest.mark.parametrize("name", ["id", "queue", "kind"])
def test_a_name_is_plain_text(name: str) -> None:
    for wrong in (Text(getattr(PLAIN, name)), 7):
        with pytest.raises(ConfigurationError, match=f"{name}=.*: give text"):
            check(msgspec.structs.replace(PLAIN, **{name: wrong}))


@pytest.mark.parametrize("redacted", [["a"], "a", ("a", 1), (b"a",), {"a"}])
def test_redacted_names_are_a_tuple_of_text(redacted: Any) -> None:
    with pytest.raises((ConfigurationError, InvalidArguments), match="redacted"):
        check(msgspec.structs.replace(PLAIN, redacted=redacted))


@pytest.mark.parametrize(
    "change",
    [{"run_at": None}, {"enqueued_at": None}, {"run_at": True}, {"expires_at": True}, {"expires_at": "soon"}],
)
def test_a_time_is_a_number_and_only_the_expiry_may_be_left_out(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(ConfigurationError, match=name):
        check(msgspec.structs.replace(PLAIN, **change))
    check(msgspec.structs.replace(PLAIN, expires_at=None))
