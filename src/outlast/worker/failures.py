"""Converts an exception to the failure that the store keeps: redacted, and cut to a bound."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

from outlast.core.codec import scrub
from outlast.core.message import Failure
from outlast.declare import injection
from outlast.worker import call_plan, usage

__all__ = ["MESSAGE_LIMIT", "TRACEBACK_LIMIT", "failure_of"]

TRACEBACK_LIMIT: Final = 16 * 1024
MESSAGE_LIMIT: Final = 2 * 1024
_INTERNAL: Final = (vars(call_plan), vars(usage), vars(injection))
_CUT: Final = "\n... (cut) ...\n"


def failure_of(error: BaseException, *, attempt: int, at: float, secrets: tuple[str, ...] = ()) -> Failure:
    """Return the failure to keep: no text in `secrets`, at most 2 KiB of message and 16 KiB of traceback.

    The outermost frames, those of the worker, are omitted. at: wall time in seconds.
    """
    try:
        lines = traceback.format_exception(type(error), error, _handler_frames(error.__traceback__))
        text = "".join(lines)
    except Exception as broken:  # an exception whose __str__ or __cause__ fails must not end the worker
        text = f"(no traceback: {type(broken).__name__} while it was formatted)"
    # Scrub before the cut: half a secret would not be found.
    return Failure(
        attempt=attempt,
        at=at,
        type=_utf8(type(error).__name__),
        message=_cut(_utf8(scrub(_text(error), secrets)), MESSAGE_LIMIT),
        traceback=_cut(_utf8(scrub(text, secrets)), TRACEBACK_LIMIT),
    )


def _handler_frames(frames: TracebackType | None) -> TracebackType | None:
    """Omit the worker's call of the handler, and its frames between middleware, dependencies and the handler."""
    frames = frames.tb_next if frames is not None else None
    while frames is not None and any(frames.tb_frame.f_globals is each for each in _INTERNAL):
        frames = frames.tb_next
    return frames


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"(no message: {type(broken).__name__} while it was formatted)"


def _utf8(text: str) -> str:
    """Return text that UTF-8 can encode: a file name that it cannot (PEP 383) would prevent the job's settlement."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str, limit: int) -> str:
    """Keep both ends: a chain of causes begins with the cause and ends with the raised exception."""
    if len(text) <= limit:
        return text
    head = limit // 4
    return text[:head] + _CUT + text[len(text) - (limit - head - len(_CUT)) :]
