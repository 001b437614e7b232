"""The log of a worker process beside the app's own logging."""

from __future__ import annotations

import io
import logging
import logging.config
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from outlast.worker.plain_log import enable_loggers, log_plainly

ESCAPES = "x\x1b]0;title\x07\x1b[2J\r\n2026-01-01 00:00:00,000 INFO outlast.worker: job q.1 succeeded\u2028y\u202e\x85z"


class Logs:
    """The loggers of a process that is fresh for logging, and what was written."""

    def __init__(self, plain: io.StringIO) -> None:
        self._plain = plain
        self.own = io.StringIO()

    def handler(self, level: int = logging.NOTSET) -> logging.Handler:
        """Return a handler of the app."""
        handler = logging.StreamHandler(self.own)
        handler.setLevel(level)
        return handler

    @property
    def plain(self) -> list[str]:
        """The lines of the worker, without their heads."""
        return [line.partition(": ")[2] for line in self._plain.getvalue().splitlines()]

    @property
    def text(self) -> str:
        """What the worker has written."""
        return self._plain.getvalue()


def alone(app: logging.Logger, logs: Logs) -> None:
    app.addHandler(logs.handler())
    app.propagate = False


@contextmanager
def fresh() -> Iterator[Logs]:
    """Replace all loggers within the block, those of the test runner included."""
    root, plain = logging.RootLogger(logging.WARNING), io.StringIO()
    manager = logging.Manager(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging, "root", root)
        patch.setattr(logging.Logger, "root", root)
        patch.setattr(logging.Logger, "manager", manager)
        patch.setattr(sys, "stderr", plain)
        yield Logs(plain)


def test_a_record_has_one_line_that_is_not_indented_and_no_control_characters() -> None:
    with fresh() as logs:
        log_plainly()
        logging.getLogger("a").warning("%s", ESCAPES)
        try:
            raise ValueError(ESCAPES)
        except ValueError:
            logging.getLogger("b").exception("second\n")
        lines = logs.text.splitlines()
        assert [line for line in lines if not line.startswith("  ")] == [
            line for line in lines if "WARNING a: x" in line or "ERROR b: second" in line
        ]
        assert len([line for line in lines if not line.startswith("  ")]) == 2
        assert all(line.isprintable() for line in lines)
        assert "ValueError: x\\x1b]0;title\\x07" in logs.text


@pytest.mark.parametrize(
    ("give", "plain", "own"),
    [
        # what the app does with its logger "app"; what the worker writes of "app.orders" and "other"; what the app does
        (lambda app, logs: None, ["debt", "info", "other"], 0),
        (lambda app, logs: app.addHandler(logs.handler()), ["other"], 2),
        (lambda app, logs: app.addHandler(logs.handler(logging.ERROR)), ["debt", "info", "other"], 0),
        (lambda app, logs: app.addHandler(logs.handler(logging.WARNING)), ["info", "other"], 1),
        (lambda app, logs: app.addHandler(logging.NullHandler()), ["debt", "info", "other"], 0),
        (lambda app, logs: app.getChild("orders").addHandler(logs.handler()), ["other"], 2),
        (alone, ["other"], 2),
        (lambda app, logs: logging.getLogger("other").addHandler(logs.handler()), ["debt", "info"], 1),
        (lambda app, logs: logging.getLogger().addHandler(logging.NullHandler()), ["debt", "info", "other"], 0),
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["at import", "later"])
def test_each_line_comes_once(
    give: Callable[[logging.Logger, Logs], object], plain: list[str], own: int, late: bool
) -> None:
    with fresh() as logs:
        if late:
            log_plainly()
        give(logging.getLogger("app"), logs)
        log_plainly()
        logging.getLogger("app.orders").warning("debt")
        logging.getLogger("app.orders").info("info")
        logging.getLogger("other").warning("other")
        assert logs.plain == plain
        assert len(logs.own.getvalue().splitlines()) == own


def test_a_configured_root_logger_is_left_alone() -> None:
    with fresh() as logs:
        logging.basicConfig(handlers=[logs.handler()], format="OWN %(message)s")
        log_plainly()
        assert logging.getLogger().level == logging.WARNING
        logging.getLogger("app").warning("once")
        logging.getLogger("app").info("not wanted")
        assert (logs.own.getvalue(), logs.text) == ("OWN once\n", "")


def test_a_root_handler_that_comes_later_takes_over() -> None:
    with fresh() as logs:
        log_plainly()
        logging.getLogger("app").warning("first")
        logging.getLogger().addHandler(logs.handler())
        logging.getLogger("app").warning("second")
        assert (logs.plain, logs.own.getvalue()) == (["first"], "second\n")


def test_a_second_call_adds_nothing() -> None:
    with fresh() as logs:
        log_plainly()
        log_plainly()
        logging.getLogger("app").warning("once")
        assert logs.plain == ["once"]


@pytest.mark.parametrize("root", [True, False], ids=["with root", "without root"])
def test_dict_config_that_disables_all_loggers_loses_no_line_of_outlast(root: bool) -> None:
    with fresh() as logs:
        loggers = [
            logging.getLogger(name) for name in ("outlast", "outlast.worker", "outlast.job", "outlasting", "app")
        ]
        handler = {"class": "logging.StreamHandler", "stream": logs.own}
        logging.config.dictConfig(
            {"version": 1, "handlers": {"own": handler}, "root": {"handlers": ["own"]} if root else {}}
        )
        assert all(logger.disabled for logger in loggers)
        log_plainly()
        enable_loggers()
        for logger in loggers:
            logger.warning(logger.name)
        written = logs.own.getvalue().splitlines() if root else logs.plain
        assert written == ["outlast", "outlast.worker", "outlast.job"]


def test_a_record_that_cannot_be_written_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with fresh():
        log_plainly()
        sys.stderr.close()  # by a job: logging's own error path raises then
        logging.getLogger("outlast.worker").warning("lost")
        monkeypatch.setattr(sys, "stderr", None)
        logging.getLogger("outlast.worker").warning("lost too")


@pytest.mark.parametrize(("wanted", "lines"), [(None, ["failed"]), (logging.INFO, ["connected", "failed"])])
def test_a_library_that_logs_each_step_is_quiet_unless_the_app_wants_it(wanted: int | None, lines: list[str]) -> None:
    with fresh() as logs:
        if wanted is not None:
            logging.getLogger("pika").setLevel(wanted)
        log_plainly()
        logging.getLogger("pika.connection").info("connected")
        logging.getLogger("pika.connection").warning("failed")
        assert logs.plain == lines
