"""Calls the observers of an event; none of them can fail what it is told of."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

from outlast.core.calls import unawaited
from outlast.core.errors import ConfigurationError
from outlast.core.events import Event, Observers

__all__ = ["notify"]

_log: Final = logging.getLogger("outlast")


def notify(observers: Observers, event: Event) -> None:
    """Notify every observer of the event. If one raises, log its first error; nothing else is affected."""
    for observer in observers.of(type(event)):
        try:
            if (made := observer(event)) is not None and unawaited(made):
                raise ConfigurationError("it returned a coroutine, which is not awaited: give a plain function")
        except BaseException as error:  # a SystemExit here would end the worker's settler, or a caller's enqueue
            if id(observer) not in observers.failed:
                observers.failed.add(id(observer))
                with suppress(BaseException):  # the text of the observer, or a handler of the log, may raise too
                    _log.error("observer %r failed; its further failures are not logged", observer, exc_info=error)
