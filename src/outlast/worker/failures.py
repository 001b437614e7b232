"""How an exception is told: redacted, and cut to a bound."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

from outlast.core.codec import scrub
from outlast.core.message import Failure
from outlast.declare import injection
from outlast.worker import call_plan, usage

__all__ = ["MESSAGE_LIMIT", "TRACEBACK_LIMIT", "failure_of", "plain_failure"]

TRACEBACK_LIMIT: Final = 16 * 1024
MESSAGE_LIMIT: Final = 2 * 1024
_BETWEEN: Final = (vars(call_plan), vars(usage), vars(injection))
_CUT: Final = "\n... (cut) ...\n"


def failure_of(error: BaseException, *, attempt: int, at: float, secrets: tuple[str, ...] = ()) -> Failure:
    """Return what is kept of `error`: no text in `secrets`, at most 2 KiB of message and 16 KiB of traceback.

    The worker's own frames, outermost, are left out. `at` is wall time in seconds.
    """
    try:
        lines = traceback.format_exception(type(error), error, _from_the_handler_on(error.__traceback__))
        text = "".join(lines)
    except Exception as broken:  # an exception whose own __str__ or __cause__ fails must not end the worker
        text = f"(no traceback: {type(broken).__name__} while it was formatted)"
    # Scrub before the cut: half a secret would not be found any more.
    return Failure(
        attempt=attempt,
        at=at,
        type=_kept(type(error).__name__),
        message=_cut(_kept(scrub(_text(error), secrets)), MESSAGE_LIMIT),
        traceback=_cut(_kept(scrub(text, secrets)), TRACEBACK_LIMIT),
    )


def plain_failure(kind: str, message: str, *, attempt: int, at: float) -> Failure:
    """Return a failure that no exception stands for, such as a timeout."""
    return Failure(attempt=attempt, at=at, type=kind, message=message)


def _from_the_handler_on(frames: TracebackType | None) -> TracebackType | None:
    """Leave out the worker's call of the handler, and ours between middleware, dependencies and the handler."""
    frames = frames.tb_next if frames is not None else None
    while frames is not None and any(frames.tb_frame.f_globals is each for each in _BETWEEN):
        frames = frames.tb_next
    return frames


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"(no message: {type(broken).__name__} while it was formatted)"


def _kept(text: str) -> str:
    """Return text that has a UTF-8 form: a file name that is none (PEP 383) would keep the job from being settled."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str, limit: int) -> str:
    """Keep both ends: a chain of causes begins with the cause and ends with what was raised."""
    if len(text) <= limit:
        return text
    head = limit // 4
    return text[:head] + _CUT + text[len(text) - (limit - head - len(_CUT)) :]
