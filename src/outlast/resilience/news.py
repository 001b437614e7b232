"""Tells the openings and closings of the breakers of one guard in this process: one line of the log, one event."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final

from outlast.core.events import GuardClosed, GuardOpened
from outlast.core.text import duration, short, shown
from outlast.resilience.guard_metrics import CLOSINGS, OPENINGS

if TYPE_CHECKING:
    from outlast.core.guards.answers import BreakerView

__all__ = ["NO_KEY", "GuardEvent", "GuardNews", "open_since"]

NO_KEY: Final = object()
GuardEvent = GuardOpened | GuardClosed
_log: Final = logging.getLogger("outlast.guards")


class GuardNews:
    """Tells of the breakers of one guard. tell: called with each event, in the thread that makes the change."""

    def __init__(self, name: str, tell: Callable[[GuardEvent], object] | None) -> None:
        self.open = 0
        """The breakers that are open."""
        self._name = name
        self._tell = tell
        self._openings = {False: OPENINGS.of(name, "calls"), True: OPENINGS.of(name, "others")}
        self._closings = CLOSINGS.of(name)

    def changed(
        self, key: Hashable, view: BreakerView, now: float, *, before: float | None, shared: bool = False
    ) -> None:
        """Tell that a breaker has opened or closed. Call it with no lock held.

        key: of which key it is. before: since when it was open, None if it was closed. shared: other processes have
        made the change.
        """
        key = _short(key)
        name = f"{self._name}[{key}]" if key else self._name
        if before is None:
            self.open += 1
            self._openings[shared].add()
            probe = "" if view.next_probe is None else f", next probe in {duration(view.next_probe)}"
            _log.warning("guard %s is open (%s): no call is made%s", name, view.why, probe)
            event: GuardEvent = GuardOpened(self._name, view.why, shared, key)
        else:
            seconds = max(0.0, now - before)
            self.open -= 1
            self._closings.observe(seconds)
            grows = f", {view.share:.0%} of the calls at first" if view.share < 1 else ""
            _log.info("guard %s is closed again after %s%s", name, duration(seconds), grows)
            event = GuardClosed(self._name, seconds, key)
        if self._tell is not None:
            try:
                self._tell(event)
            except Exception:  # the call that made the change has ended well, or has an error of its own
                _log.exception("an event of guard %s could not be told", name)


def open_since(view: BreakerView, before: float | None) -> float | None:
    """Return since when a breaker is open that was open since `before`, None for a closed one."""
    if view.state == "closed":
        return None
    return view.since if before is None else min(before, view.since)


def _short(key: Hashable) -> str:
    if key is NO_KEY:
        return ""
    return short(key) if isinstance(key, str) else shown(key, 60)
