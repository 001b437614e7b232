"""What `outlast dev` prints: what runs where, one line a job, and the logs of both halves in one shape."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from outlast.cli.output.show import note
from outlast.core.events import Event, JobEnded
from outlast.core.text import clean

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["JobLines", "log_for_people", "show_banner"]

_logger = logging.getLogger("outlast.dev")
_MOST: Final = 20
"""Lines a second about jobs: a bulk of ten thousand must neither scroll by nor slow down what it tells about."""


def log_for_people() -> None:
    """Show INFO and above on stderr in one short shape, unless the app sets up logging itself."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LogFormatter(colour=sys.stderr.isatty() and not os.environ.get("NO_COLOR")))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in ("uvicorn.error", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)  # its coming and going is told here


class _LogFormatter(logging.Formatter):
    """Time, source, and the level when it is worth a look."""

    _COLOURS: Final = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31;1"}

    def __init__(self, *, colour: bool) -> None:
        super().__init__("%(asctime)s %(name)s: %(message)s", "%H:%M:%S")
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return one record as text."""
        text = clean(super().format(record))
        code = self._COLOURS.get(record.levelno)
        if code is None:
            return text
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text.replace(": ", f": {record.levelname}: ", 1)


class JobLines:
    """Tells the end of each job, at most 20 lines a second; the worker itself logs retries and deaths."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def observe(self, event: Event) -> None:
        """Hear one event."""
        if not isinstance(event, JobEnded) or event.state == "dead":
            return
        second = int(time.monotonic())
        if second != self._second:
            if self._left_out:
                _logger.info("... and %d more jobs", self._left_out)
            self._second, self._lines, self._left_out = second, 0, 0
        if self._lines >= _MOST:
            self._left_out += 1
            return
        self._lines += 1
        why = f" ({event.reason})" if event.reason and event.reason != event.state else ""
        _logger.info("%s %s %s%s in %.0f ms", event.kind, event.id, event.state, why, event.seconds * 1000)


def show_banner(shops: Sequence[Outlast], listener: socket.socket | None) -> None:
    """Print where things are."""
    if listener is not None:
        host, port = listener.getsockname()[:2]
        listener.close()
        shown = f"[{host}]" if ":" in host else host
        note(f"  api      http://{shown}:{port}  (docs at /docs)")
    for shop in shops:
        queues = ", ".join(sorted(shop.registry.queues)) or "none yet"
        note(f"  store    {_where(shop)}")
        note(f"  queues   {queues}")
    note("  stop     Ctrl-C")


def _where(shop: Outlast) -> str:
    from outlast.brokers.registry import kind_of
    from outlast.settings import Settings

    url = shop.settings.url
    origin = Settings.origins(shop.name, shop.explicit_settings)["url"]
    why = {"default": "the default", "argument": "Settings(url=...)"}.get(origin, origin)
    return f"{kind_of(url).shown(url)}  ({why})"
