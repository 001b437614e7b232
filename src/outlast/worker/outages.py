"""Logs what is the matter with a store: once when it begins, and once when it has ended."""

from __future__ import annotations

import logging
from typing import Final

from outlast.core.clock import Clock
from outlast.core.errors import StoreError, StoreFull, StoreUnavailable

__all__ = ["Outages", "StoreStalled"]

_logger = logging.getLogger("outlast.worker")
_STEADY: Final = 2.0
"""Seconds without a refusal after which a store counts as no longer full: near its bound it takes some calls only."""


class StoreStalled(StoreError):
    """A call to the store did not return in time."""


class _Outage:
    __slots__ = ("ended_at", "kinds", "waiting")

    def __init__(self) -> None:
        self.waiting: set[str] = set()
        """The calls that have failed, and not succeeded since."""
        self.kinds: set[str] = set()
        """What was logged."""
        self.ended_at: float | None = None


class Outages:
    """The outages of one store, by queue where each queue may have its own; "" for the whole store.

    An outage ends when every call that has failed in it has succeeded: a store that refuses writes answers other calls.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, _Outage] = {}

    def failed(self, what: str, error: StoreError, queue: str = "") -> None:
        """Record that the call `what` has failed and is repeated; log it if that is new."""
        outage = self._open.setdefault(queue, _Outage())
        outage.waiting.add(what)
        outage.ended_at = None
        kind, until = _kind(error)
        if kind not in outage.kinds:
            outage.kinds.add(kind)
            of_queue = queue and f" of queue {queue!r}"
            _logger.warning("the store %s, %s%s is repeated until %s: %s", kind, what, of_queue, until, error)

    def waits_for(self, *calls: str) -> bool:
        """Return whether one of these calls has failed, and not succeeded since."""
        return any(call in outage.waiting for outage in self._open.values() for call in calls)

    def succeeded(self, what: str, queue: str = "") -> None:
        """Record that the call `what` has succeeded; log the end of the outage. Costs nothing without one."""
        outage = self._open.get(queue) if self._open else None
        if outage is None:
            return
        outage.waiting.discard(what)
        if outage.waiting:
            return
        now = self._clock.monotonic()
        outage.ended_at = now if outage.ended_at is None else outage.ended_at
        full = _FULL in outage.kinds
        if full and now - outage.ended_at < _STEADY:
            return
        del self._open[queue]
        again = "takes writes again" if full else "is back"
        _logger.warning("the store %s%s", again, queue and f", for queue {queue!r}")


_FULL: Final = "is full"


def _kind(error: StoreError) -> tuple[str, str]:
    """Return what is the matter, and when it has ended."""
    if isinstance(error, StoreFull):
        return _FULL, "there is space"
    if isinstance(error, StoreUnavailable | StoreStalled):
        return "is away", "it is back"
    return "refuses a call", "it succeeds"
