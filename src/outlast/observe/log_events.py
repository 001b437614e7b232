"""One log record for each event of a job, a guard, a queue, a schedule or a worker, and at most so many a second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from outlast.core import events
from outlast.core.errors import ConfigurationError
from outlast.core.text import line, shown
from outlast.declare.hooks import EventsMixin
from outlast.observe.log_metrics import LEFT_OUT
from outlast.observe.logs import ids_of, masked

__all__ = ["EventLog", "LogLimit", "log_events"]

LOGGER: Final = "outlast.events"
PER_SECOND: Final = 100.0
"""Lines of one event and state a second, after as many at once."""
_NAMES: Final[dict[type[Any], tuple[str, int]]] = {
    events.JobEnqueued: ("job.enqueued", logging.INFO),
    events.JobDropped: ("job.dropped", logging.WARNING),
    events.JobRefused: ("job.refused", logging.WARNING),
    events.JobStarted: ("job.started", logging.INFO),
    events.JobEnded: ("job.ended", logging.INFO),
    events.JobRetried: ("job.retried", logging.WARNING),
    events.JobPostponed: ("job.postponed", logging.INFO),
    events.JobLost: ("job.lost", logging.WARNING),
    events.GuardOpened: ("guard.opened", logging.WARNING),
    events.GuardClosed: ("guard.closed", logging.INFO),
    events.QueueUnattended: ("queue.unattended", logging.WARNING),
    events.ScheduleFailed: ("schedule.failed", logging.ERROR),
    events.WorkerStalled: ("worker.stalled", logging.ERROR),
}
"""The name of each event, and the level of its line."""
_logged: Final[WeakSet[EventsMixin]] = WeakSet()
_LEVELS: Final = {"dead": logging.ERROR, "expired": logging.WARNING}
_RENAMED: Final = {"id": "job", "error": "why", "usage": "", "trace": "", "holder": ""}


def log_events(app: EventsMixin, *, logger: str = LOGGER, per_second: float = PER_SECOND) -> None:
    """Log each event of an app in this process: call it once, before a worker starts.

    The record has the attributes of docs/logs.md, which `JsonLines` writes; other formatters show its message. A line
    names the job and never an argument. per_second: lines of one event and state; what is left out is counted, and told
    by the next line of its kind. A second call for an app changes nothing. Raise ConfigurationError for a number that
    is not above 0.
    """
    if type(per_second) not in (int, float) or not 0 < per_second < float("inf"):
        raise ConfigurationError(f"log_events(per_second={shown(per_second)}): give a number above 0, such as 100")
    if app in _logged:
        return
    _logged.add(app)
    name = str(getattr(app, "name", ""))
    app.observe(EventLog(logging.getLogger(logger), LogLimit(float(per_second)), name))


class LogLimit:
    """Lets `per_second` lines of each kind through, after as many at once. Used in any thread.

    The bucket of a kind holds `per_second` lines and fills at that rate (a token bucket, as in ITU-T I.371).
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = monotonic) -> None:
        self._rate = per_second
        self._most = max(1.0, per_second)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, list[float]] = {}

    def take(self, kind: str) -> int | None:
        """Return how many lines of a kind were left out since the last one; None if this one is to be left out too."""
        now = self._clock()
        with self._lock:
            bucket = self._buckets.setdefault(kind, [self._most, now, 0])
            bucket[0] = min(self._most, bucket[0] + (now - bucket[1]) * self._rate)
            bucket[1] = now
            if bucket[0] < 1:
                bucket[2] += 1
                return None
            bucket[0] -= 1
            before, bucket[2] = int(bucket[2]), 0
            return before


class EventLog:
    """Logs events; an observer of an app. app: its name."""

    def __init__(self, logger: logging.Logger, limit: LogLimit, app: str) -> None:
        self._logger = logger
        self._limit = limit
        self._app = app
        for event, _ in _NAMES.values():
            LEFT_OUT.of(event)  # at 0: the first line that is left out must be a growth

    def __call__(self, event: events.Event) -> None:
        """Log one event."""
        name, level = _NAMES[type(event)]
        state = getattr(event, "state", "")
        level = _LEVELS.get(state, level)
        if not self._logger.isEnabledFor(level):
            return
        before = self._limit.take(f"{name}.{state}")
        if before is None:
            LEFT_OUT.of(name).add()
            return
        fields = _fields(event)
        if before:
            fields["left_out"] = before
        self._logger.log(level, "%s", _text(name, fields), extra={"event": name, "app": self._app, **fields})


def _fields(event: events.Event) -> dict[str, Any]:
    """Return the fields of an event as the line has them; those without a value are left out."""
    found: dict[str, Any] = {}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        told = _RENAMED.get(name, name)
        if told and value is not None and value != "":
            found[told] = masked(value) if told == "why" else value  # an error of user code
    usage = getattr(event, "usage", None)
    if usage is not None:
        found["cpu"] = usage.cpu
        if usage.peak is not None:
            found["peak"] = usage.peak
    return {**found, **ids_of(getattr(event, "trace", ""))}


def _text(name: str, fields: dict[str, Any]) -> str:
    """Return the line for people: the event, what it is about, and how it ended."""
    about = fields.get("job") or fields.get("guard") or fields.get("schedule") or fields.get("queue") or ""
    kind = f" ({line(str(fields['kind']))})" if "kind" in fields else ""
    state = f" {fields['state']}" if "state" in fields else ""
    why = fields.get("why") or fields.get("reason")
    return f"{name} {line(str(about))}{kind}{state}{f': {line(str(why))}' if why else ''}".replace("  ", " ")
