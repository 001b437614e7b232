"""Tells the openings and closings of the breakers of one guard in this process: one line of the log, one event."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final, Protocol

from outlast.core.events import GuardClosed, GuardOpened
from outlast.core.text import duration, short, shown

if TYPE_CHECKING:
    from outlast.core.guards.breaker import BreakerView

__all__ = ["NO_KEY", "GuardEvent", "GuardNews"]

NO_KEY: Final = object()
GuardEvent = GuardOpened | GuardClosed
_log: Final = logging.getLogger("outlast.guards")


class Told(Protocol):
    """What is told of: the breaker of a guard, or of one key of it."""

    @property
    def key(self) -> Hashable:
        """The key; NO_KEY without one."""
        ...

    def seen(self) -> tuple[BreakerView, float]:
        """Return its state, and the time."""
        ...


class GuardNews:
    """The breakers of one guard that are open. tell: called with each event, in the thread that makes the change."""

    def __init__(self, name: str, tell: Callable[[GuardEvent], object] | None) -> None:
        self._name = name
        self._tell = tell
        # Reentrant: the collector may close a generator, with a block of this guard in it, inside any call. What is
        # seen is read under this lock, or an older state could be told after a newer one.
        self._lock = threading.RLock()
        self._open_since: dict[Told, float] = {}

    def look(self, breaker: Told, *, shared: bool = False) -> None:
        """Tell a change of its state, if there is one since the last look. shared: other processes have made it."""
        with self._lock:
            view, now = breaker.seen()
            before = self._open_since.get(breaker)
            if view.state == "closed":
                if before is None:
                    return
                del self._open_since[breaker]
            else:
                self._open_since[breaker] = view.since if before is None else min(before, view.since)
                if before is not None:
                    return
        key = _short(breaker.key)
        name = f"{self._name}[{key}]" if key else self._name
        if before is None:
            probe = "" if view.next_probe is None else f", next probe in {duration(view.next_probe)}"
            _log.warning("guard %s is open (%s): no call is made%s", name, view.why, probe)
            event: GuardEvent = GuardOpened(self._name, view.why, shared, key)
        else:
            seconds = max(0.0, now - before)
            grows = f", {view.share:.0%} of the calls at first" if view.share < 1 else ""
            _log.info("guard %s is closed again after %s%s", name, duration(seconds), grows)
            event = GuardClosed(self._name, seconds, key)
        if self._tell is not None:
            try:
                self._tell(event)
            except Exception:  # the call that made the change has ended well, or has an error of its own
                _log.exception("an event of guard %s could not be told", name)


def _short(key: Hashable) -> str:
    if key is NO_KEY:
        return ""
    return short(key) if isinstance(key, str) else shown(key, 60)
