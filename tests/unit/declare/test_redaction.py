"""The texts that are masked: in every form that a traceback may show, and found without a warning or an error."""

from __future__ import annotations

import base64
import html
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from pydantic import AfterValidator, BaseModel

from outlast import Redacted
from outlast.core.codec import scrub
from outlast.declare.arguments import Arguments
from outlast.declare.redaction import texts
from outlast.declare.signature import read

SECRET = "hunter2-Zq9x"

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "stripped": str.strip,
    "upper": str.upper,
    "lower": str.lower,
    "repr": repr,
    "ascii": ascii,
    "repr of an error": lambda text: repr(KeyError(text)),
    "repr of a repr": lambda text: repr(repr(text)),
    "repr in a dict": lambda text: str({"k": [text]}),
    "bytes": lambda text: repr(text.encode()),
    "json": json.dumps,
    "json, as it is": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps({"k": text})),
    "url": quote,
    "url, all": lambda text: quote(text, safe=""),
    "query": lambda text: urlencode({"k": text}),
    "form": quote_plus,
    "page": html.escape,
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "basic authorization": lambda text: base64.b64encode(f"ann:{text}".encode()).decode(),
    "basic authorization of another": lambda text: base64.b64encode(f"anne:{text}:x".encode()).decode(),
    "lines": lambda text: "\n".join(f"  | {line}" for line in text.splitlines()),
}
SECRETS = (SECRET, "  pass 'word\"/\\ \u00fc\u20ac+&<  ", "line one\nline 'two'\n", "\U0001f511\U0001f512-key")


def of(handler: Callable[..., Any]) -> Arguments:
    return Arguments(handler, read(handler), kind="handler")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", FORMS)
def test_a_redacted_text_is_masked_in_every_form(form: str, secret: str) -> None:
    found = set(texts({"key": [secret]}, marked=True))
    for other in FORMS.values():  # what remains of it, in any form
        shown = scrub(f"before {FORMS[form](secret)} after", found)
        assert other(secret.strip()).strip("'\"b=") not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "[redacted]" in shown


@given(st.text(min_size=4).filter(lambda text: len(text.strip()) >= 4), st.sampled_from(sorted(FORMS)))
def test_no_form_of_any_text_remains(secret: str, form: str) -> None:
    try:
        written = FORMS[form](secret)
    except UnicodeEncodeError:  # half a surrogate pair
        return
    if form in ("upper", "lower") and len(written) != len(secret):
        return  # such as the German sharp s
    shown = scrub(written, set(texts(secret, marked=True)))
    assert secret.strip() not in shown.replace("[redacted]", "\0")
    assert "[redacted]" in shown


class Tone(StrEnum):
    LOUD = "l0ud-and-clear"


class Pin(IntEnum):
    FIRST = 471100


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234567, "1,234,567 and 1234567"),
        (Pin.FIRST, "471100"),
        (Tone.LOUD, f"{Tone.LOUD!r} {Tone.LOUD}"),
        (Decimal("1234.50"), "Decimal('1234.50')"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02 03:04:00+00:00 2026-01-02T03:04:00+00:00"),
        (b"s3cret-bytes", "b's3cret-bytes' 7333637265742d6279746573 czNjcmV0LWJ5dGVz"),
        ("schl\u00fcssel".encode(), "schl\u00fcssel"),
    ],
)
def test_values_of_other_types_are_masked_as_they_are_written(value: object, shown: str) -> None:
    masked = scrub(shown, set(texts(value, marked=True)))
    assert not [word for word in shown.split() if any(map(str.isdigit, word)) and word in masked]
    assert "[redacted]" in masked


@pytest.mark.parametrize("value", [b"s3cret", bytearray(b"s3cret"), "s3cret", ["s3cret"], {"key": b"s3cret"}])
def test_every_leaf_of_a_marked_value_is_masked(value: object) -> None:
    assert "s3cret" in set(texts(value, marked=True))


@pytest.mark.parametrize("value", ["", " ", "\n\t", [], {}, None, True, [None, False]])
def test_what_has_no_text_masks_nothing(value: object) -> None:
    assert scrub("True None\n\t and 'more'", set(texts(value, marked=True))) == "True None\n\t and 'more'"


class Login(BaseModel):
    user: str
    password: Annotated[str, Redacted]


@dataclass
class Looped:
    word: str
    other: Any = None


def looped(value: Looped) -> Looped:
    value.other = value
    return value


def refused(value: str) -> str:
    raise KeyboardInterrupt


def lowered(value: str) -> str:
    return value.lower().replace("-", "_")


def whole(value: Annotated[dict[str, str], Redacted]) -> None: ...
def partly(login: Login) -> None: ...
def in_itself(value: Annotated[Looped, AfterValidator(looped), Redacted]) -> None: ...
def unreadable(value: Annotated[str, AfterValidator(refused), Redacted]) -> None: ...
def changed(value: Annotated[str, AfterValidator(lowered), Redacted]) -> None: ...
def unmarked(value: str) -> None: ...


@pytest.mark.parametrize(
    ("handler", "args", "names", "masked", "kept"),
    [
        (whole, {"value": {"user": "anna", "password": SECRET}}, (), (SECRET, "anna", "password"), ()),
        (partly, {"login": {"user": "anna", "password": SECRET}}, ("login",), (SECRET,), ("anna",)),
        (in_itself, {"value": {"word": SECRET}}, (), (SECRET,), ()),
        (unreadable, {"value": SECRET}, (), (SECRET,), ()),
        (changed, {"value": SECRET}, (), (SECRET, lowered(SECRET)), ()),
        # The mark of the time when it was stored counts as well.
        (unmarked, {"value": SECRET}, ("value",), (SECRET,), ()),
        (unmarked, {"value": SECRET}, (), (), (SECRET,)),
        # It fits no more: all of a marked argument is masked.
        (partly, {"login": {"user": "anna", "password": SECRET, "old": 1}, "more": 2}, (), (SECRET, "anna"), ()),
        (partly, {"login": SECRET}, (), (SECRET,), ()),
        (whole, {"gone": SECRET}, ("gone",), (SECRET,), ()),
    ],
)
def test_what_is_masked_is_what_was_stored(
    handler: Callable[..., Any], args: dict[str, Any], names: tuple[str, ...], masked: tuple[str, ...], kept: Any
) -> None:
    shown = scrub(" ".join((*masked, *kept)), of(handler).stored_secrets(Raw(json.dumps(args).encode()), names))
    assert shown.split() == ["[redacted]"] * len(masked) + list(kept)


def test_arguments_that_are_no_json_have_no_secrets() -> None:
    assert of(whole).stored_secrets(Raw(b"{broken"), ("value",)) == ()


def test_bytes_are_masked_where_python_forbids_their_text() -> None:
    """With -bb, str() of bytes raises; a failure while texts are collected would leave the run without an end."""
    code = "from outlast.declare.redaction import texts; print('s3cret' in set(texts(b's3cret', marked=True)))"
    done = subprocess.run([sys.executable, "-bb", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
