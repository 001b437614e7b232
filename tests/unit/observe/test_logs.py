"""Each record is one line of JSON by the documented schema, whatever it holds, and without what looks like a secret."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from outlast import ConfigurationError
from outlast.core.message import Failure
from outlast.observe.log_form import log_form, set_log_form
from outlast.observe.logs import FIELDS, JsonLines, ids_of, masked
from outlast.worker.report import FailedRun

PAGE = Path(__file__).parents[3] / "docs" / "logs.md"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def line(message: object = "hello", *args: object, form: Any = None, **attributes: Any) -> dict[str, Any]:
    """Return the line of a record."""
    record = logging.LogRecord(
        "shop.orders", logging.WARNING, "x.py", 7, message, args, attributes.pop("exc_info", None)
    )
    vars(record).update(attributes)
    text = (form or JsonLines()).format(record)
    assert text.isprintable() or "\u00e9" in text
    assert len(text.splitlines()) == 1
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_plain_record() -> None:
    found = line("order %d of %s", 7, "Zo\u00e9", form=JsonLines("shop"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert found.pop("process") > 0
    assert found == {"level": "WARNING", "logger": "shop.orders", "message": "order 7 of Zo\u00e9", "app": "shop"}


def test_ids_of_job_and_trace_are_fields_and_what_the_app_adds_is_extra() -> None:
    found = line(job="mail.7", queue="mail", kind="send", attempt=2, trace=TRACE, order=7, basket=["a", 1], vip=True)
    assert (found["job"], found["queue"], found["kind"], found["attempt"]) == ("mail.7", "mail", "send", 2)
    assert (found["trace_id"], found["span_id"]) == (TRACE[3:35], TRACE[36:52])
    assert found["extra"] == {"order": 7, "basket": "['a', 1]", "vip": True}


def test_a_field_has_one_type_and_other_values_are_extra() -> None:
    found = line(attempt="second", state=7, shared="yes", seconds=True)
    assert found["extra"] == {"attempt": "second", "state": 7, "shared": "yes", "seconds": True}


def test_the_active_span_is_told_where_the_process_uses_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(is_valid=True, trace_id=0xABC, span_id=0xDEF)
    api: Any = ModuleType("opentelemetry.trace")
    api.get_current_span = lambda: SimpleNamespace(get_span_context=lambda: context)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", api)
    assert line()["trace_id"] == "0" * 29 + "abc"
    assert line()["span_id"] == "0" * 13 + "def"
    assert line(trace=TRACE)["trace_id"] == TRACE[3:35], "the job's own comes first"
    context.is_valid = False
    assert "trace_id" not in line()
    del api.get_current_span
    assert "trace_id" not in line()


def test_a_traceparent_of_another_form_gives_no_ids() -> None:
    for text in ("", "00-4bf9-00f0-01", TRACE[:-3], TRACE.upper(), f"{TRACE}\n{TRACE}"):
        assert ids_of(text) == {}
    assert ids_of(f"{TRACE}-more") == ids_of(TRACE)


def test_an_error_has_type_message_and_stack() -> None:
    try:
        raise LookupError("no such order")
    except LookupError:
        error = line("failed", exc_info=sys.exc_info())["error"]
    assert (error["type"], error["message"]) == ("LookupError", "no such order")
    assert error["stack"].startswith("Traceback (most recent call last):\n")
    assert 'raise LookupError("no such order")' in error["stack"]


def test_an_error_that_stands_for_another_has_what_that_one_had() -> None:
    failed = FailedRun(Failure(1, 0.0, "KeyError", "'x'", "Traceback ...\nKeyError: 'x'"))
    assert line(exc_info=(FailedRun, failed, None))["error"] == {
        "type": "KeyError",
        "message": "'x'",
        "stack": "Traceback ...\nKeyError: 'x'",
    }
    assert line(exc_text="Traceback ...")["error"] == {"stack": "Traceback ..."}


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class HostileError(Exception):
    __str__ = Hostile.__str__


@pytest.mark.parametrize(
    ("message", "args", "attributes"),
    [
        ("%d", ("x",), {}),
        ("%s", (Hostile(),), {}),
        (Hostile(), (), {}),
        ("x", (), {"order": Hostile()}),
        ("x", (), {"order": object()}),
        ("x", (), {"order": float("nan")}),
        ("x", (), {"order": float("inf")}),
        ("x", (), {"order": 10**400}),
        ("x", (), {"order": 2**63}),
        ("half a character \ud800", (), {"order": "\udfff"}),
        ("line\nline\r\u2028\u2029\x85\x1b[2J\x00", (), {"a\nb": "c\nd"}),
        ("x", (), {"exc_info": (HostileError, HostileError(), None)}),
        (None, (), {}),
    ],
)
def test_no_record_breaks_the_line(message: object, args: tuple[object, ...], attributes: dict[str, Any]) -> None:
    assert line(message, *args, **attributes)["level"] == "WARNING"


def test_texts_are_bounded() -> None:
    found = line("m" * 100_000, order="o" * 100_000, **{f"n{number}": number for number in range(100)})
    assert len(found["message"]) < 8300
    assert found["message"].endswith("... (100,000 characters)")
    assert len(found["extra"]["order"]) < 1100
    assert len(found["extra"]) == 32


@pytest.mark.parametrize(
    "text",
    [
        "redis://user:canary@host/0 is away",
        "GET https://api.example.com/x?api_key=canary&y=1",
        "password=canary",
        'password = "ca nary canary"',
        "{'password': 'canary', 'user': 'ann'}",
        '{"access_token": "canary"}',
        "API_KEY: canary",
        "X-Api-Key: canary",
        "client-secret=canary, user=ann",
        "Authorization: Bearer canary.canary.canary",
        "Authorization: Basic Y2FuYXJ5",
        "Cookie: session=canary; theme=canary",
        "the token Bearer canary-canary was refused",
        r'"password": "ca\"canary"',
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    shown = json.dumps([line(text), line("x", note=text), line("x", exc_info=(OSError, OSError(text), None))])
    assert "canary" not in shown
    assert "Y2Fu" not in shown
    assert "***" in masked(text)


def test_values_under_names_of_secrets_are_masked() -> None:
    names = ("password", "db_passwd", "apiKey", "auth", "session_id", "Cookie", "credentials", "private_key")
    assert line(**dict.fromkeys(names, "canary"))["extra"] == dict.fromkeys(names, "***")


@pytest.mark.parametrize(
    "text", ["job mail.7 (send) is dead", "tokens: none", "the key product:7 is stale", "author: Ann", "a basic idea"]
)
def test_other_texts_are_as_they_were(text: str) -> None:
    assert line(text)["message"] == text


def test_an_app_masks_more() -> None:
    form = JsonLines(redact=lambda text: text.replace("4111", "####"))
    found = line("card 4111", form=form, note="4111", exc_info=(OSError, OSError("4111"), None))
    assert "4111" not in json.dumps(found)


def test_the_form_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAST_LOG", "")  # else what is set below stays for the tests that follow
    assert log_form() == "text"
    set_log_form(None)
    assert log_form() == "text"
    set_log_form("json")
    assert log_form() == "json"
    set_log_form("xml")
    with pytest.raises(ConfigurationError, match=r"OUTLAST_LOG.*'xml'.*give text or json"):
        log_form()


def test_the_page_has_each_field_with_its_type() -> None:
    kinds = {str: "text", float: "number", bool: "flag"}
    rows = [f"| `{name}` | {kinds[field.kind]} | {field.about} |" for name, field in FIELDS.items()]
    assert [row for row in rows if row not in PAGE.read_text()] == []
