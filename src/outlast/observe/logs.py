"""Log records as JSON, one line each, with the ids of job and trace and without secrets: docs/logs.md is the schema."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from outlast.core.message import Failure
from outlast.core.text import json_line, shown
from outlast.core.urls import mask_urls

__all__ = ["FIELDS", "JsonLines", "LogField", "ids_of", "masked"]

LONGEST_MESSAGE: Final = 8192
LONGEST_STACK: Final = 16_384
LONGEST_TEXT: Final = 1024
MOST_EXTRAS: Final = 32
MASK: Final = "***"


class LogField(Struct, frozen=True):
    """A field of a line. kind: of its values, text, number or flag. about: what it is."""

    kind: type[str] | type[float] | type[bool]
    about: str


FIELDS: Final[Mapping[str, LogField]] = {
    "event": LogField(str, "what happened to a job, a guard, a queue, a schedule or a worker; only in lines of events"),
    "app": LogField(str, "the name of the app"),
    "job": LogField(str, "the id of the job"),
    "queue": LogField(str, "its queue"),
    "kind": LogField(str, "its kind"),
    "attempt": LogField(float, "the number of the run, from 1"),
    "state": LogField(str, "how the job ended: succeeded, dead, cancelled, expired"),
    "reason": LogField(str, "why it ended so, or was refused or dropped"),
    "waited": LogField(float, "seconds from when it was due until the run began"),
    "seconds": LogField(float, "seconds of the run, of an opening, or without a consumer"),
    "cpu": LogField(float, "seconds of the processor, where it was measured"),
    "peak": LogField(float, "bytes of memory at most, of a run in a child process"),
    "run_at": LogField(float, "when the job is due, seconds since 1970"),
    "at": LogField(float, "when the next run is due, seconds since 1970"),
    "by": LogField(str, "the job for which another one was dropped"),
    "guard": LogField(str, "the name of the guard"),
    "key": LogField(str, "the key of the guard, in short"),
    "shared": LogField(bool, "whether the guard follows other processes"),
    "why": LogField(str, "the cause, in words"),
    "depth": LogField(float, "the jobs that wait"),
    "schedule": LogField(str, "the name of the schedule"),
    "left_out": LogField(float, "the lines of `event` that the limit has left out before this one"),
    "trace_id": LogField(str, "the trace, 32 hexadecimal digits (W3C Trace Context)"),
    "span_id": LogField(str, "the span, 16 hexadecimal digits"),
}
"""The fields that a line may have besides time, level, logger, message, process, error and extra. A value of another
type than its field's goes to `extra`: an index of logs must find one type in a field."""

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What each record has, by Python's own logging."""
_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?\Z")
_SECRET_NAME: Final = re.compile(
    r"pass|pwd|secret|token|api.?key|auth|credential|cookie|session|private", re.IGNORECASE
)
_HEADERS: Final = r"(?:proxy-)?authorization|(?:set-)?cookie"
_WORDS: Final = r"[\w-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key)"
"""What a secret follows, with ":" or "=" between: to the end of its line, or of its value."""
_QUOTED: Final = r"""(?:"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)"""
_SECRETS: Final = re.compile(
    rf"""(?P<header>\b(?:{_HEADERS})["']?\s*[:=]\s*)(?:{_QUOTED}|[^\n"']+)"""
    rf"""|(?P<name>\b(?:{_WORDS})["']?\s*[:=]\s*)(?:{_QUOTED}|[^\n,;&)\]}}]+)"""
    r"|(?P<scheme>\b(?:Bearer|Basic|Digest)\s+)[A-Za-z0-9._~+/=-]{6,}",
    re.IGNORECASE,
)
_encode: Final = msgspec.json.Encoder().encode


def masked(text: str) -> str:
    """Return a text without what looks like a secret: passwords in URLs, and what follows words such as `token=`.

    It is the last line of defence: `Redacted` arguments never come this far.
    """
    return _SECRETS.sub(lambda found: (found["header"] or found["name"] or found["scheme"]) + MASK, mask_urls(text))


class JsonLines(logging.Formatter):
    """Formats each record as one line of JSON. Give it to any handler: `handler.setFormatter(JsonLines())`.

    app: the name that each line has. redact: called with each text after `masked`; returns what is written.
    """

    def __init__(self, app: str = "", *, redact: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self._app = app
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, without its end. It does not raise for what a record may hold."""
        fields: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": self._text(_message(record), LONGEST_MESSAGE),
            "process": record.process,
        }
        if self._app:
            fields["app"] = self._app
        extras: dict[str, Any] = {}
        for name, value in vars(record).items():
            if name in _OWN or name.startswith("_") or value is None:
                continue
            if name == "trace":
                fields.update(ids_of(str(value)))
                continue
            field = FIELDS.get(name)
            plain = self._plain(name, value)
            if field is not None and _is_of(field, plain):
                fields[name] = plain
            elif len(extras) < MOST_EXTRAS:
                extras[self._text(name, 64)] = plain
        if "trace_id" not in fields:
            fields.update(_active_ids())
        if error := self._error(record):
            fields["error"] = error
        if extras:
            fields["extra"] = extras
        return json_line(_encode(fields).decode())

    def _text(self, text: str, most: int) -> str:
        # Cut before it is masked too, or a record of megabytes would take seconds: far behind what is shown, where half
        # of a secret does not matter.
        whole = masked(text[: 4 * most].encode("utf-8", "backslashreplace").decode())
        if self._redact is not None:
            whole = str(self._redact(whole))
        return (
            whole if len(whole) <= most and len(text) <= 4 * most else f"{whole[:most]}... ({len(text):,} characters)"
        )

    def _plain(self, name: str, value: object) -> Any:
        """Return a value of a record as text, number or flag."""
        if _SECRET_NAME.search(name):
            return MASK
        if isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return value if abs(value) < 1e15 else shown(value)  # more digits than readers of JSON keep
        return self._text(value if isinstance(value, str) else shown(value, LONGEST_TEXT), LONGEST_TEXT)

    def _error(self, record: logging.LogRecord) -> dict[str, str]:
        given = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if given is None:
            return {"stack": self._text(record.exc_text, LONGEST_STACK)} if record.exc_text else {}
        failure = getattr(given, "failure", None)
        if isinstance(failure, Failure):  # its exception is in another process, or may show redacted values
            told = failure.type, failure.message, failure.traceback
        else:
            told = type(given).__name__, _text_of(given), _stack(record.exc_info)
        names = ("type", "message", "stack")
        return {name: self._text(text, LONGEST_STACK) for name, text in zip(names, told, strict=True)}


def _is_of(field: LogField, value: object) -> bool:
    if field.kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, field.kind)


def _time(created: float) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # its arguments do not fit, or their texts raise
        return f"{shown(record.msg, 200)} (its arguments do not fit)"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be made)"


def _stack(info: Any) -> str:
    with suppress(Exception):  # the texts of exceptions are user code
        return "".join(traceback.format_exception(*info))
    return ""


def ids_of(traceparent: str) -> dict[str, str]:
    """Return trace_id and span_id of a header `traceparent`; {} of any other text."""
    found = _TRACE.match(traceparent)
    return {} if found is None else {"trace_id": found[1], "span_id": found[2]}


def _active_ids() -> dict[str, str]:
    """Return the ids of the span of OpenTelemetry in which this code runs, where the process uses that."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return {}
    with suppress(Exception):
        context = api.get_current_span().get_span_context()
        if context.is_valid:
            return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    return {}
