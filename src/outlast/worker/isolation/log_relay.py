"""Lets a child process log as its worker does: the same levels, and the worker's handlers where it has none like them.

Handlers that the app makes when it is imported exist in both processes, and each uses its own. Records for other
handlers, such as those that the command or a script has set up, are sent to the worker.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec import Raw

from outlast.worker.isolation.messages import ChildLog, LoggerSetup, LogSetup

__all__ = ["apply_setup", "handle_record", "log_setup"]

_MESSAGE_LIMIT: Final = 1 << 20
_PLAIN: Final = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
_LEFT_OUT: Final = frozenset({"args", "exc_info", "msg"})
_encode: Final = msgspec.json.Encoder().encode


def log_setup() -> LogSetup:
    """Return how the loggers of this process are set up, those without a setting left out."""
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    setups = [_setup(each) for each in known if isinstance(each, logging.Logger)]
    return LogSetup(tuple(each for each in setups if each != LoggerSetup(each.name)), logging.root.manager.disable)


def _setup(logger: logging.Logger) -> LoggerSetup:
    name = "" if logger is logging.root else logger.name
    handlers = {str(id(each)): _described(each) for each in logger.handlers}
    return LoggerSetup(name, logger.level, logger.propagate, logger.disabled, handlers)


def _described(handler: logging.Handler) -> str:
    """Return a text that is equal for handlers that write the same to the same place."""
    kind, formatter = type(handler), handler.formatter
    style = "" if formatter is None else f"{type(formatter).__qualname__} {formatter._fmt} {formatter.datefmt}"
    place = getattr(handler, "baseFilename", None) or getattr(getattr(handler, "stream", None), "name", "")
    return f"{kind.__module__}.{kind.__qualname__} {handler.level} {place} {style}"


def apply_setup(setup: LogSetup, send: Callable[[ChildLog], None]) -> None:
    """Set up the loggers of this process in the same way. send: sends a record to the worker."""
    logging.disable(setup.disable)
    for each in setup.loggers:
        logger = logging.getLogger(each.name)
        logger.setLevel(each.level)
        logger.propagate, logger.disabled = each.propagate, each.disabled
        wanted = set(each.handlers.values())
        logger.handlers[:] = [handler for handler in logger.handlers if _described(handler) in wanted]
        have = {_described(handler) for handler in logger.handlers}
        if missing := [int(key) for key, text in each.handlers.items() if text not in have]:
            logger.addHandler(_Relay(each.name, missing, send))


class _Relay(logging.Handler):
    """Sends each record to some handlers of a logger of the worker."""

    def __init__(self, logger: str, handlers: list[int], send: Callable[[ChildLog], None]) -> None:
        super().__init__()
        self._logger, self._handlers, self._send = logger, handlers, send
        self._process = os.getpid()
        self.setFormatter(_PLAIN)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if os.getpid() == self._process:
                self._send(ChildLog(self._logger, self._handlers, _fields(record)))
            else:  # the handler has forked: two processes must not write frames into one socket
                sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def _fields(record: logging.LogRecord) -> Raw:
    """Return the attributes of a record as a JSON object; what JSON cannot say as text."""
    if record.exc_info and not record.exc_text:
        record.exc_text = _PLAIN.formatException(record.exc_info)
    text = record.getMessage()[:_MESSAGE_LIMIT]
    fields = {name: value for name, value in vars(record).items() if name not in _LEFT_OUT} | {"msg": text}
    try:
        return Raw(_encode(fields))
    except Exception:  # an attribute that the app added, a lone surrogate in the text
        return Raw(
            _encode({str(name).encode("utf-8", "replace").decode(): _raw(each) for name, each in fields.items()})
        )


def _raw(value: Any) -> Raw:
    try:
        return Raw(_encode(value))
    except Exception:
        try:
            text = value if isinstance(value, str) else repr(value)
        except Exception:  # the record goes on without this attribute's text
            text = object.__repr__(value)
        return Raw(_encode(text.encode("utf-8", "backslashreplace").decode()))


def handle_record(message: ChildLog) -> None:
    """Pass a record of a child process to the handlers that it is for. Never raises: handlers are code of the app."""
    for handler in tuple(logging.getLogger(message.logger).handlers):
        if id(handler) in message.handlers:
            with suppress(BaseException):  # it would end the connection to the child process, in the midst of its run
                record = logging.makeLogRecord(msgspec.json.decode(message.record))
                if record.levelno >= handler.level:
                    _handle(handler, record)


def _handle(handler: logging.Handler, record: logging.LogRecord) -> None:
    try:
        handler.handle(record)
    except Exception:
        handler.handleError(record)
