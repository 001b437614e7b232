"""Each event is one record with its ids, at most so many a second, and what is left out is counted and told."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from outlast import ConfigurationError, Outlast, Settings
from outlast.core import events
from outlast.core.message import Usage
from outlast.observe.log_events import LOGGER, EventLog, LogLimit, log_events
from outlast.observe.logs import FIELDS, JsonLines
from tests.support.counts import Counted, value_of

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
IDS = {"trace_id": TRACE[3:35], "span_id": TRACE[36:52]}
EVENTS: dict[Any, dict[str, object]] = {
    events.JobEnqueued("q.1", "q", "send", 5.0, TRACE): {"event": "job.enqueued", "job": "q.1", "run_at": 5.0, **IDS},
    events.JobDropped("q.1", "q", "shed", "q.2"): {"event": "job.dropped", "reason": "shed", "by": "q.2"},
    events.JobRefused("q.1", "q", "send", "full", TRACE): {"event": "job.refused", "reason": "full", **IDS},
    events.JobStarted("q.1", "q", "send", 2, 1.5): {"event": "job.started", "attempt": 2, "waited": 1.5},
    events.JobEnded("q.1", "q", "send", "dead", "attempts", 2.0, Usage(0.5, 2.0, 7)): {
        "event": "job.ended", "state": "dead", "reason": "attempts", "seconds": 2.0, "cpu": 0.5, "peak": 7,
    },
    events.JobRetried("q.1", "q", "send", 1, 9.0, "OSError: away"): {
        "event": "job.retried", "why": "OSError: away", "at": 9.0,
    },
    events.JobPostponed("q.1", "q", "send", "pay", 9.0): {"event": "job.postponed", "guard": "pay", "at": 9.0},
    events.JobLost("q.1", "q"): {"event": "job.lost", "job": "q.1"},
    events.GuardOpened("pay", "4 of 4 calls failed", shared=False, key="eu"): {
        "event": "guard.opened", "shared": False, "key": "eu",
    },
    events.GuardClosed("pay", 5.0): {"event": "guard.closed", "seconds": 5.0},
    events.QueueUnattended("q", 7, 60.0): {"event": "queue.unattended", "depth": 7, "seconds": 60.0},
    events.ScheduleFailed("tick", "no zone"): {"event": "schedule.failed", "schedule": "tick", "why": "no zone"},
    events.WorkerStalled("host-7", 60.0): {"event": "worker.stalled", "seconds": 60.0},
}  # fmt: skip


class Lines(logging.Handler):
    """The lines of JSON that were written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def found(self) -> list[dict[str, object]]:
        return [json.loads(each) for each in self.lines]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def log_of(limit: LogLimit | None = None) -> EventLog:
    return EventLog(logging.getLogger(LOGGER), limit or LogLimit(100), "shop")


def test_there_is_a_line_for_each_event_and_each_field_of_it_is_in_the_schema(lines: Lines) -> None:
    assert {type(each) for each in EVENTS} == set(events.EVENTS)
    log = log_of()
    for event, expected in EVENTS.items():
        log(event)
        found = lines.found[-1]
        assert expected.items() <= found.items()
        assert found["app"] == "shop"
        assert "extra" not in found
        known = {"time", "level", "logger", "message", "process"}
        assert set(found) - known <= FIELDS.keys()
    assert len(lines.lines) == len(EVENTS)


def test_the_level_says_how_a_job_ended_and_the_message_is_for_people(lines: Lines) -> None:
    log = log_of()
    for state in ("succeeded", "dead", "expired", "cancelled"):
        log(events.JobEnded("q.1", "q", "send", state, None, 1.0))
    assert [(each["level"], each["message"]) for each in lines.found] == [
        ("INFO", "job.ended q.1 (send) succeeded"),
        ("ERROR", "job.ended q.1 (send) dead"),
        ("WARNING", "job.ended q.1 (send) expired"),
        ("INFO", "job.ended q.1 (send) cancelled"),
    ]


def test_a_secret_in_the_error_of_a_run_is_masked_for_every_formatter(lines: Lines) -> None:
    lines.setFormatter(logging.Formatter("%(message)s %(why)s"))
    log_of()(events.JobRetried("q.1", "q", "send", 1, 9.0, "OSError: redis://:canary@host, token=canary"))
    assert "canary" not in lines.lines[0]


def test_a_forged_line_stays_in_its_line(lines: Lines) -> None:
    log_of()(events.JobRetried("q.1\n{}", "q\u2028", "se\x1bnd", 1, 9.0, 'x\n{"level": "INFO"}'))
    assert len(lines.lines[0].splitlines()) == 1
    assert lines.found[0]["job"] == "q.1\n{}"


def test_each_event_has_its_count_of_lines_left_out_from_the_start() -> None:
    """One that is born at 1 does not grow: no rate would show the first line that is left out."""
    log_of()
    names = {str(expected["event"]) for expected in EVENTS.values()}
    assert None not in [value_of("outlast_log_lines_left_out_total", each) for each in names]


def test_lines_over_the_limit_are_left_out_counted_and_told(lines: Lines) -> None:
    now = [0.0]
    log, left_out = log_of(LogLimit(2, lambda: now[0])), Counted("outlast_log_lines_left_out_total")
    for number in range(10):
        log(events.JobEnded(f"q.{number}", "q", "send", "succeeded", None, 1.0))
    log(events.JobEnded("q.dead", "q", "send", "dead", None, 1.0))  # another state has lines of its own
    assert [each["job"] for each in lines.found] == ["q.0", "q.1", "q.dead"]
    assert left_out.added == {"job.ended": 8}
    now[0] = 0.5
    log(events.JobEnded("q.next", "q", "send", "succeeded", None, 1.0))
    assert lines.found[-1]["left_out"] == 8
    now[0] = 100.0
    for number in range(3):
        log(events.JobEnded(f"q.{number}", "q", "send", "succeeded", None, 1.0))
    assert "left_out" not in lines.found[-1]
    assert left_out.added == {"job.ended": 9}


def test_a_level_that_is_not_logged_uses_up_no_line(lines: Lines) -> None:
    logging.getLogger(LOGGER).setLevel(logging.ERROR)
    log = log_of(LogLimit(1, lambda: 0.0))
    left_out = Counted("outlast_log_lines_left_out_total")
    for _ in range(5):
        log(events.JobStarted("q.1", "q", "send", 1, 0.0))
    assert (lines.lines, left_out.added) == ([], {})


async def test_the_events_of_an_app_are_logged_once(lines: Lines) -> None:
    shop = Outlast("logged", settings=Settings(url="memory:"))

    @shop.job(queue="mail")
    async def send(n: int) -> None: ...

    log_events(shop)
    log_events(shop)
    async with shop.testing() as testing:
        job = await send.with_options(headers={"traceparent": TRACE}).enqueue(7)
        await testing.drain()
    found = lines.found
    assert [(each["event"], each["job"]) for each in found] == [
        ("job.enqueued", job.id),
        ("job.started", job.id),
        ("job.ended", job.id),
    ]
    assert {(each["app"], each["queue"], each["kind"], each["trace_id"]) for each in found} == {
        ("logged", "mail", "send", IDS["trace_id"])
    }


@pytest.mark.parametrize("per_second", [0, -1, True, "100", float("inf"), float("nan"), None])
def test_a_limit_that_limits_nothing_is_refused(per_second: object) -> None:
    with pytest.raises(ConfigurationError, match=r"per_second.*give a number above 0"):
        log_events(Outlast("shop"), per_second=per_second)  # type: ignore[arg-type]
