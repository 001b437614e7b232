"""A line of JSON about a run has the ids of its span, whatever enqueued the job, and whatever runs beside it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from outlast import Outlast
from outlast.core.message import Message
from outlast.observe.log_events import log_events
from outlast.observe.logs import JsonLines
from tests.support.apps.traced_app import TARGET, jobs
from tests.support.collector import Collector
from tests.support.polling import until
from tests.support.working import working

EVENTS = {"job.started", "job.retried", "job.ended"}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the process logs, as lines of JSON."""
    found, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(found), root.level
    handler.setFormatter(JsonLines())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield found
    root.removeHandler(handler)
    root.setLevel(level)


def lines_of_runs(log: io.StringIO) -> list[dict[str, Any]]:
    lines = map(json.loads, log.getvalue().splitlines())
    return [each for each in lines if "job" in each and each.get("event", "job.ended") in EVENTS]


async def without_a_trace(app: Outlast, messages: Sequence[Message]) -> None:
    """Publish as a producer does that is not traced."""
    await (await app.runtime()).store.broker.publish(messages)


@pytest.mark.parametrize("number", [20, 101])
@pytest.mark.parametrize("by", ["a call", "another producer"])
async def test_each_line_about_a_run_has_its_ids(
    by: str, number: int, traced: Outlast, received: Collector, log: io.StringIO
) -> None:
    log_events(traced, per_second=10_000)
    arguments: list[tuple[Any, ...]] = [("noted", 7), ("fails", "value", "4000-1234"), ("logs",), ("logs_in_child",)]
    messages = [jobs[kind].message(*given) for kind, *given in (arguments[each % 4] for each in range(number))]
    async with working(traced, target=TARGET):
        await (traced.enqueue_many(messages) if by == "a call" else without_a_trace(traced, messages))
        await until(lambda: log.getvalue().count('"job.ended"') == number, "all have ended")
    runs = {
        (each.attributes["messaging.message.id"], each.trace, each.id) for each in received.named("process default")
    }
    lines = lines_of_runs(log)
    assert {(each["job"], each.get("trace_id"), each.get("span_id")) for each in lines} == runs
    assert {each["logger"] for each in lines} == {"outlast.events", "outlast.worker", "outlast.job"}
