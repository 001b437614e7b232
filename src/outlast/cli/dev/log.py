"""The output of `outlast dev`: the banner, one line a job, and all logs in one format."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from outlast.cli.output.show import note
from outlast.core.events import Event, JobEnded
from outlast.core.text import counted, indented
from outlast.worker.plain_log import log_plainly

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["JobLines", "log_for_people", "show_banner", "show_end"]

_logger = logging.getLogger("outlast.dev")
_MOST: Final = 20
"""Lines about jobs per second: lines for each of ten thousand jobs would slow the jobs down."""


def log_for_people() -> None:
    """Log INFO and above to stderr in one short format, unless the app configures logging."""
    log_plainly(_LogFormatter(colour=sys.stderr.isatty() and not os.environ.get("NO_COLOR")))
    for name in ("uvicorn.error", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)  # the banner shows its start
    logging.getLogger("uvicorn.access").setLevel(logging.INFO)  # else it has the level of "uvicorn"


class _LogFormatter(logging.Formatter):
    """Formats time and source, and the level from WARNING on."""

    _COLOURS: Final = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31;1"}

    def __init__(self, *, colour: bool) -> None:
        super().__init__("%(asctime)s %(name)s: %(message)s", "%H:%M:%S")
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return one record as text."""
        text = indented(super().format(record))
        code = self._COLOURS.get(record.levelno)
        if code is None:
            return text
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text.replace(": ", f": {record.levelname}: ", 1)


class JobLines:
    """Logs the end of each job, at most 20 lines a second; the worker logs retries and dead jobs."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        """The number of ended jobs by state."""
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def observe(self, event: Event) -> None:
        """Log one event, if it is the end of a job."""
        if not isinstance(event, JobEnded):
            return
        self.ended[event.state] += 1
        if event.state == "dead":
            return
        second = int(time.monotonic())
        if second != self._second:
            if self._left_out:
                _logger.info("... and %s more", counted(self._left_out, "job"))
            self._second, self._lines, self._left_out = second, 0, 0
        if self._lines >= _MOST:
            self._left_out += 1
            return
        self._lines += 1
        why = f" ({event.reason})" if event.reason and event.reason != event.state else ""
        _logger.info("%s %s %s%s in %.0f ms", event.kind, event.id, event.state, why, event.seconds * 1000)


def show_end(lines: JobLines) -> None:
    """Print what was done."""
    states = ", ".join(f"{number:,} {state}" for state, number in sorted(lines.ended.items()))
    note(f"outlast: stopped; jobs that ended: {states or 'none'}")


async def show_banner(apps: Sequence[Outlast], listener: socket.socket | None) -> None:
    """Print the address of the API, and each app with its queues and its store, which is open."""
    if listener is not None:
        host, port = listener.getsockname()[:2]
        listener.close()
        shown = f"[{host}]" if ":" in host else host
        note(f"  api      http://{shown}:{port}  (docs at /docs)")
    for app in apps:
        queues = ", ".join(sorted(app.registry.queues)) or "none yet"
        durability = (await app.runtime()).store.broker.capabilities.durability
        note(f"  app      {app.name}, {counted(len(app.registry.kinds), 'kind')} of jobs")
        note(f"  queues   {queues}")
        note(f"  store    {_store(app)}, durability {durability}")
    note("  stop     Ctrl-C")


def _store(app: Outlast) -> str:
    from outlast.brokers.registry import kind_of
    from outlast.settings import Settings

    url = app.settings.url
    origin = Settings.origins(app.name, app.explicit_settings)["url"]
    why = {"default": "the default", "argument": "Settings(url=...)"}.get(origin, origin)
    return f"{kind_of(url).shown(url)}  ({why})"
