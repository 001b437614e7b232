"""The form of the log of `outlast worker`: text, or JSON with a line for each event, by `--log` or OUTLAST_LOG."""

from __future__ import annotations

import os
from typing import Final

from outlast.core.errors import ConfigurationError
from outlast.core.text import shown
from outlast.declare.hooks import EventsMixin
from outlast.observe.log_events import log_events
from outlast.observe.logs import JsonLines
from outlast.worker.plain_log import log_plainly

__all__ = ["log_as_asked", "log_events_as_asked", "log_form", "set_log_form"]

_VARIABLE: Final = "OUTLAST_LOG"


def set_log_form(form: str | None) -> None:
    """Have this process and those that it starts log in a form; None keeps what OUTLAST_LOG says."""
    if form is not None:
        os.environ[_VARIABLE] = form


def log_form() -> str:
    """Return the form of the log: "text" or "json"; raise ConfigurationError for another one."""
    found = os.environ.get(_VARIABLE, "").strip() or "text"
    if found not in ("text", "json"):
        raise ConfigurationError(f"--log ({_VARIABLE}): {shown(found)}: give text or json")
    return found


def log_as_asked() -> None:
    """Log INFO and above to stderr in that form, unless the app has given the root logger a handler."""
    log_plainly(JsonLines() if log_form() == "json" else None)


def log_events_as_asked(app: object) -> None:
    """Log the events of an app too, where the form is json."""
    if log_form() == "json" and isinstance(app, EventsMixin):
        log_events(app)
