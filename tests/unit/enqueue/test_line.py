"""The places in line of refused clients."""

from __future__ import annotations

import pytest

from outlast.core.settlement import ACCEPTED, Full, FullBound, Published
from outlast.enqueue.line import Line
from tests.support.jobs import message


def told(
    line: Line, now: float, *, key: str | None = None, bound: FullBound = "max_depth", every: float = 2.0
) -> float:
    (answer,) = line.placed([message("q.1", 0, key=key)], [Full(10.0, bound, every)], now)
    assert isinstance(answer, Full)
    return answer.retry_after


def test_each_client_comes_after_the_one_before() -> None:
    line = Line()
    assert [told(line, 100), told(line, 100), told(line, 101)] == [10, 12, 13]


def test_a_line_whose_clients_have_come_back_begins_anew() -> None:
    line = Line()
    assert [told(line, 100), told(line, 100), told(line, 200)] == [10, 12, 10]


def test_a_batch_takes_a_place_for_each_job() -> None:
    line = Line()
    answers: list[Published] = [Full(10.0, "max_depth", 2.0), ACCEPTED, Full(10.0, "max_depth", 2.0)]
    placed = line.placed([message(f"q.{n}", 0) for n in range(3)], answers, 100)
    assert placed == [Full(12.0, "max_depth", 2.0), ACCEPTED, Full(12.0, "max_depth", 2.0)]
    assert told(line, 100) == 14


def test_each_queue_bound_and_key_has_a_line_of_its_own() -> None:
    line = Line()
    assert [told(line, 100), told(line, 100, bound="max_bytes")] == [10, 10]
    assert [told(line, 100, key="a"), told(line, 100, key="b")] == [12, 14], "the queue is full for all keys"
    of_key: FullBound = "per_key.max_depth"
    assert [told(line, 100, key=key, bound=of_key) for key in ("a", "b", "a")] == [10, 10, 12]


def test_a_queue_of_unknown_speed_has_no_line() -> None:
    line = Line()
    assert [told(line, 100, every=0), told(line, 100, every=0)] == [10, 10]


def test_nobody_is_sent_away_for_more_than_an_hour() -> None:
    line = Line()
    assert max(told(line, 100, every=1000) for _ in range(10)) == 3600


def test_the_lines_of_many_keys_do_not_pile_up() -> None:
    line = Line()
    for n in range(5000):
        told(line, n * 1.0, key=f"k{n}", bound="per_key.max_depth")
    assert len(line._last) <= 1001


def test_many_refused_keys_are_not_read_at_each_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    line, read = Line(), list[int]()
    leave_out = Line._leave_out

    def counted(self: Line, now: float) -> None:
        read.append(len(self._last))
        leave_out(self, now)

    monkeypatch.setattr(Line, "_leave_out", counted)
    for n in range(20_000):
        told(line, 0.0, key=f"k{n}", bound="per_key.max_depth")
    assert sum(read) < 2 * 20_000, "a refusal would take milliseconds of the event loop"
    told(line, 100.0, key="k0", bound="per_key.max_depth")
    line._leave_out(100.0)
    assert len(line._last) == 1
