"""Deadlines that nest: `with deadline(seconds):` bounds every guarded call in it, and `remaining()` says what is left.

The moment is kept in a context variable, so that it travels into tasks, and into threads that copy the context.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar, Token
from time import monotonic
from types import TracebackType
from typing import Final

from outlast.core.durations import Duration, seconds

__all__ = ["DeadlineBlock", "bounded", "deadline", "ends_at", "moment", "remaining", "restore"]

_at: Final[ContextVar[float | None]] = ContextVar("outlast_deadline", default=None)
"""The monotonic time at which the work in this context must end, None for never."""

moment = _at.get
"""Return the monotonic time of the deadline around this line, None for none: for the path of every call."""


class DeadlineBlock:
    """The block of one `deadline(...)`. seconds: from its entry, None for no bound."""

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._token: Token[float | None] | None = None

    def __enter__(self) -> None:
        if self._token is not None:
            raise RuntimeError("this deadline bounds another block: write 'with deadline(seconds):' at each")
        if self._seconds is not None:
            at, around = monotonic() + self._seconds, _at.get()
            self._token = _at.set(at if around is None or at < around else around)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is not None:
            with suppress(ValueError):  # a generator that is closed in another context: that one has its own deadline
                _at.reset(token)


def deadline(within: Duration | None) -> DeadlineBlock:
    """Bound the guarded calls of a block, async or plain: `with deadline(2):`. None: no further bound.

    within: a duration from the entry. Blocks nest, and the shorter one holds. A guarded call gets at most what is left,
    and raises DeadlinePassed without being made when nothing is. Other code in the block is not interrupted: it asks
    `remaining()`. Raise ConfigurationError for a value that is no duration.
    """
    return DeadlineBlock(None if within is None else seconds(within, "deadline(within)"))


bounded = DeadlineBlock
"""As `deadline`, for seconds that need no check."""


def remaining() -> float | None:
    """Return the seconds until the nearest deadline around this line, 0 when it has passed, None for no deadline.

    Deadlines are blocks of `deadline(...)`, the timeout of the run of a job, and the header of a request
    (`install(deadline_header=...)`).
    """
    at = _at.get()
    return None if at is None else max(0.0, at - monotonic())


def ends_at(left: float | None) -> Token[float | None]:
    """Set the deadline of this context to `left` seconds from now, whatever it was before; None: to none."""
    return _at.set(None if left is None else monotonic() + left)


def restore(before: Token[float | None]) -> None:
    """Set the deadline of this context to what it was before `ends_at`."""
    _at.reset(before)
