"""What is kept of queues, operators and costs: its bounds, and how costs are summed."""

from __future__ import annotations

import msgspec
import pytest

from outlast.core.history import (
    DAY,
    ENTRY,
    MOST_TEXT,
    SAMPLE,
    STEPS,
    Cost,
    QueueSample,
    day_of,
    entry,
    sample_of,
    slot_of,
)
from outlast.core.store.broker import QueueStats


def test_the_steps_keep_an_hour_and_a_day() -> None:
    assert [(step.seconds, step.kept) for step in STEPS] == [(10, 3600), (300, 86400)]


def test_a_sample_has_what_the_counts_have() -> None:
    stats = QueueStats(depth=5, ready=1, scheduled=1, running=1, parked=1, successors=1, dead=2, oldest=1.23456)
    sample = sample_of(stats, {"dead": 2})
    assert (sample.depth, sample.waiting, sample.dead, sample.oldest, sample.ended) == (5, 1, 2, 1.235, {"dead": 2})
    assert sample_of(stats).ended == {}


def test_older_code_reads_a_sample_with_more_fields() -> None:
    row = msgspec.json.decode(msgspec.json.encode(QueueSample(depth=3)))
    assert SAMPLE(msgspec.json.encode([*row, "new"])) == QueueSample(depth=3)


def test_slots_and_days_are_counted_from_1970() -> None:
    assert [slot_of(at, STEPS[0]) for at in (0, 9.9, 10, 1e9)] == [0, 0, 1, 100_000_000]
    assert [day_of(at) for at in (0, DAY - 0.1, DAY)] == [0, 0, 1]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("pause", "pause"),
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("x" * MOST_TEXT, "x" * MOST_TEXT),
        ("x" * 10_000, "x" * (MOST_TEXT - 3) + "..."),
        ("\ud800", "'\\ud800'"),
    ],
)
def test_the_texts_of_an_entry_are_short_and_on_one_line(given: str, kept: str) -> None:
    made = entry("audit", given, who=given, subject=given, detail=given)
    assert {made.what, made.who, made.subject, made.detail} == {kept}
    assert ENTRY(msgspec.json.encode(made)) == made


def test_costs_are_added_and_keep_what_they_are_of() -> None:
    one = Cost(kind="send", tenant="ann", day=1, runs=1, cpu=1.0, wall=2.0, bytes=10)
    other = Cost(kind="bill", runs=4, cpu=9.0, wall=9.0, bytes=1)
    assert one + other == Cost(kind="send", tenant="ann", day=1, runs=5, cpu=10.0, wall=11.0, bytes=11)
