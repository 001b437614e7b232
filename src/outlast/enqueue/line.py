"""The places in line of the clients that a full queue refuses, so that they do not all come back in the same second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import structs

from outlast.core.admission import LONGEST_WAIT
from outlast.core.message import Message
from outlast.core.settlement import Full, Published

__all__ = ["Line"]

_MOST: Final = 1000
"""Lines that are kept; those whose last client may have come back by now are left out when there are more, and more
than twice as many as were left the last time: with many refused keys each refusal would read all lines otherwise."""


class Line:
    """Gives each refused client a place behind those that this process has refused before.

    The first may come back after the `retry_after` of the store, each further one `every` seconds after the one before
    (a virtual schedule, as in GCRA). It is kept by the process that refuses: a counter in the store would make each
    refusal a write, just when the store has the least time for it. Processes that refuse side by side therefore give
    the same places; that a place begins only when a tenth of the queue has drained leaves room for them.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str | None], float] = {}
        self._most = _MOST

    def placed(self, messages: Sequence[Message], answers: Sequence[Published], now: float) -> list[Published]:
        """Return the answers, each Full with the last of the places that its batch takes. now: monotonic seconds."""
        last: dict[tuple[str, str, str | None], float] = {}
        for message, answer in zip(messages, answers, strict=True):
            if isinstance(answer, Full):
                line = _line_of(message, answer)
                last[line] = self._place(line, answer, now)
        return [
            structs.replace(answer, retry_after=last[_line_of(message, answer)]) if isinstance(answer, Full) else answer
            for message, answer in zip(messages, answers, strict=True)
        ]

    def _place(self, line: tuple[str, str, str | None], full: Full, now: float) -> float:
        """Take one place; return the seconds until it."""
        if full.every <= 0:
            return full.retry_after
        at = max(now + full.retry_after, self._last.get(line, 0.0) + full.every)
        self._last[line] = at = min(at, now + LONGEST_WAIT)
        if len(self._last) > self._most:
            self._leave_out(now)
        return at - now

    def _leave_out(self, now: float) -> None:
        """Forget the lines whose last client may have come back by now."""
        self._last = {each: last for each, last in self._last.items() if last > now}
        self._most = max(_MOST, 2 * len(self._last))


def _line_of(message: Message, full: Full) -> tuple[str, str, str | None]:
    return message.queue, full.bound, message.key if full.bound.startswith("per_key.") else None
