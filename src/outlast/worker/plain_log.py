"""The log of a worker process: what no handler of the app takes is written to stderr, one record after the other."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

from outlast.core.text import indented

__all__ = ["enable_loggers", "log_plainly"]

_TALKATIVE: Final = ("pika",)
"""Loggers of libraries that log each step of a connection at INFO; Outlast tells what matters of it."""


class PlainFormatter(logging.Formatter):
    """Formats a record as text whose first line alone is not indented, and without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one record as text."""
        return indented(super().format(record))


class _RemainderHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes the records that no other handler takes: else a line of a logger with its own handler comes twice."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record."""
        return not self._taken(record) and bool(super().filter(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Leave a record out that cannot be written: no line may end a task of the worker.

        With stderr closed, by a job for instance, logging's own way to tell it raises too.
        """
        with suppress(BaseException):
            super().handleError(record)

    def _taken(self, record: logging.LogRecord) -> bool:
        root = logging.getLogger()
        named = root.manager.loggerDict.get(record.name)
        logger: logging.Logger | None = named if isinstance(named, logging.Logger) else root
        while logger is not None:
            for handler in logger.handlers:
                if not (handler is self or isinstance(handler, logging.NullHandler) or record.levelno < handler.level):
                    return True
            logger = logger.parent if logger.propagate else None
        return False


def log_plainly(formatter: logging.Formatter | None = None) -> None:
    """Log INFO and above to stderr, unless the app has given the root logger a handler.

    What a handler takes that the app has given to another logger is not written again. formatter: None for the format
    of `outlast worker`.
    """
    enable_loggers()
    root = logging.getLogger()
    if all(isinstance(each, logging.NullHandler) for each in root.handlers):
        handler = _RemainderHandler()
        handler.setFormatter(formatter or PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        for name in _TALKATIVE:
            logger = logging.getLogger(name)
            if logger.level == logging.NOTSET:  # else the app wants to see it
                logger.setLevel(logging.WARNING)


def enable_loggers() -> None:
    """Enable the loggers of Outlast that the app's `dictConfig` or `fileConfig` has disabled.

    By default these disable each logger that exists and that they do not name: a job would fail without a line.
    """
    for name, logger in list(logging.getLogger().manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and (name == "outlast" or name.startswith("outlast.")):
            logger.disabled = False
