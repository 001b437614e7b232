"""Converts an exception to the failure that the store keeps: redacted, and cut to a bound."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any, Final, NamedTuple

from outlast.core.codec import scrub
from outlast.core.message import Failure
from outlast.core.text import line
from outlast.declare import injection
from outlast.worker import call_plan, usage

__all__ = ["MESSAGE_LIMIT", "TRACEBACK_LIMIT", "TYPE_LIMIT", "Described", "failure_of", "handler_frames", "type_name"]

TRACEBACK_LIMIT: Final = 16 * 1024
MESSAGE_LIMIT: Final = 2 * 1024
TYPE_LIMIT: Final = 200
_INTERNAL: Final = (vars(call_plan), vars(usage), vars(injection))
_CUT: Final = "\n... (cut) ...\n"
_MOST: Final = 200
"""Exceptions in one traceback, counted as `traceback` does: a group that stands in others several times counts so."""
_SHOWN: Final = 10
_class_name: Final[Any] = type.__dict__["__name__"].__get__
_parts_of: Final[Any] = BaseExceptionGroup.exceptions.__get__


class Described(NamedTuple):
    """An exception as text. whole: whether `traceback` formats it in bounded time, as text that a log can write."""

    failure: Failure
    whole: bool


def failure_of(error: BaseException, *, attempt: int, at: float, secrets: tuple[str, ...] = ()) -> Described:
    """Return the failure to keep: no text in `secrets`, at most 2 KiB of message and 16 KiB of traceback.

    The outermost frames, those of the worker, are omitted. Never raises: each text of an exception, and the names of
    its class, may be user code that raises anything. at: wall time in seconds.
    """
    trace, whole = _traceback(error)
    # Scrub before the cut: half a secret would not be found.
    failure = Failure(
        attempt=attempt,
        at=at,
        type=line(_utf8(scrub(type_name(error), secrets)))[:TYPE_LIMIT],
        message=_cut(_utf8(scrub(_text(error), secrets)), MESSAGE_LIMIT),
        traceback=_cut(_utf8(scrub(trace, secrets)), TRACEBACK_LIMIT),
    )
    return Described(failure, whole and _utf8(trace) == trace)


def type_name(error: BaseException) -> str:
    """Return the name of its class, which a metaclass may not change here."""
    return str.__str__(_class_name(type(error)))


def handler_frames(frames: TracebackType | None) -> TracebackType | None:
    """Omit the worker's call of the handler, and its frames between middleware, dependencies and the handler."""
    frames = frames.tb_next if frames is not None else None
    while frames is not None and any(frames.tb_frame.f_globals is each for each in _INTERNAL):
        frames = frames.tb_next
    return frames


def _traceback(error: BaseException) -> tuple[str, bool]:
    """Return the traceback, and whether it is whole."""
    try:
        found = _chain(error)
        if len(found) <= _MOST:
            return "".join(traceback.format_exception(type(error), error, handler_frames(error.__traceback__))), True
        parts = [f"(more than {_MOST} exceptions, of which these are the first)\n"]
        for each in found[:_SHOWN]:
            frames = handler_frames(each.__traceback__) if each is error else each.__traceback__
            parts += (*traceback.format_tb(frames), f"{type_name(each)}: {_text(each)}\n\n")
        return "".join(parts), False
    except BaseException as broken:  # a property such as __cause__ is user code too
        return f"(no traceback: {type_name(broken)} while it was formatted)", False


def _chain(error: BaseException) -> list[BaseException]:
    """Return the exceptions that a traceback of `error` shows, at most one more than the bound."""
    found: list[BaseException] = []
    chained: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting and len(found) <= _MOST:
        each = waiting.pop(0)
        if each is None:
            continue
        found.append(each)
        for cause in (each.__cause__, each.__context__):
            if cause is not None and id(cause) not in chained:
                chained.add(id(cause))
                waiting.append(cause)
        if issubclass(type(each), BaseExceptionGroup):
            waiting.extend(_parts_of(each)[: _MOST + 1])
    return found


def _text(error: BaseException) -> str:
    try:
        return str.__str__(str(error))  # of a subclass of str, its text: its methods are user code
    except BaseException as broken:
        return f"(no message: {type_name(broken)} while it was formatted)"


def _utf8(text: str) -> str:
    """Return text that UTF-8 can encode: a file name that it cannot (PEP 383) would prevent the job's settlement."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str, limit: int) -> str:
    """Keep both ends: a chain of causes begins with the cause and ends with the raised exception."""
    if len(text) <= limit:
        return text
    head = limit // 4
    return text[:head] + _CUT + text[len(text) - (limit - head - len(_CUT)) :]
