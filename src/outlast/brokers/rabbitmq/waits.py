"""What is logged of settlements that wait for the server: when the first waits, a count a minute, when none does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from outlast.core.text import counted, duration

__all__ = ["SettlementWaits"]

_logger = logging.getLogger("outlast.worker")
_TELL_AGAIN: Final = 60.0
"""Seconds between two lines at least, however many settlements wait and however often they begin to."""


class SettlementWaits:
    """The settlements of one worker that the server does not confirm now, all together. clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[object, int] = {}
        self._since = 0.0
        self._told_at: float | None = None
        self._told = False
        """Whether it was told that the settlements wait which wait now."""

    def wait(self, work: object, jobs: int, queue: str, why: str) -> None:
        """Note that `work`, with so many jobs, the first one of `queue`, waits because of `why`."""
        now = self._clock()
        if not self._waiting:
            self._since = now
        self._waiting[work] = jobs
        if self._told_at is not None and now - self._told_at <= _TELL_AGAIN:
            return
        self._told_at = now
        if self._told:
            text = "settlements of %s wait since %s: %s"
            _logger.warning(text, counted(sum(self._waiting.values()), "job"), duration(now - self._since), why)
        else:
            _logger.warning("settlements wait, the first of queue %r: %s", queue, why)
        self._told = True

    def end(self, work: object) -> None:
        """Note that `work` waits no more: it is settled, or the server has its jobs back."""
        if self._waiting.pop(work, None) is not None and not self._waiting and self._told:
            self._told = False
            _logger.warning("no settlement waits any more, after %s", duration(self._clock() - self._since))

    def forget(self, work: object) -> None:
        """Leave out `work`, which was given up: the worker stops."""
        self._waiting.pop(work, None)
        self._told = self._told and bool(self._waiting)
