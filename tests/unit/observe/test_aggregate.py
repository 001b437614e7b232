"""Metrics of several processes become one set: sums outlive their process, gauges do not, and series are bounded."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import psutil
import pytest

from outlast.meters import Meters
from outlast.meters.memory import MemoryReader, create_shared
from outlast.meters.metric import Reading
from outlast.observe.aggregate import ProcessReadings


class Process:
    """Counts as a worker process does, and is read as its supervisor reads it."""

    def __init__(self, readings: ProcessReadings) -> None:
        self.fd = create_shared()
        self.meters = Meters()
        self.meters.share(self.fd)
        self.reader = MemoryReader(self.fd)
        self._readings = readings
        readings.started(self.reader)

    def end(self) -> None:
        self._readings.ended(self.reader)
        os.close(self.fd)

    def took(self, *edges: float) -> None:
        self.meters.histogram("took", "Took.", ("queue",), edges=(1,)).with_edges(edges, "mail").observe(0.5, 7, 70)


@pytest.fixture
def readings() -> ProcessReadings:
    return ProcessReadings()


@pytest.fixture
def process(readings: ProcessReadings) -> Iterator[Process]:
    made = Process(readings)
    yield made
    made.end()


def values(readings: ProcessReadings, name: str, *labels: str) -> tuple[float, ...] | None:
    return next((each.values for each in found(readings, name) if each.labels == labels), None)


def found(readings: ProcessReadings, name: str) -> list[Reading]:
    return [each for each in readings.read() if each.metric.name == name]


def below(reading: Reading) -> dict[float, float]:
    """How many were at most at each edge."""
    return {edge: sum(reading.values[: n + 1]) for n, edge in enumerate(reading.edges)}


def test_sums_of_all_processes_stay_when_one_ends_and_its_gauges_go(readings: ProcessReadings) -> None:
    first, second = Process(readings), Process(readings)
    for number, each in enumerate((first, second), 1):
        each.meters.counter("seen_total", "Seen.", ("queue",)).of("mail").add(number)
        each.meters.gauge("open", "Open.").of().set(10 * number)
        each.meters.gauge("lag", "Lag.", merging="max").of().set(number)
        each.meters.summary("spent", "Spent.").of().observe(number)
        each.took(1, 10)
    together = {name: values(readings, name) for name in ("open", "lag", "spent")}
    assert together == {"open": (30,), "lag": (2,), "spent": (2, 3)}
    assert values(readings, "took", "mail") == (2, 2, 2, 155)
    second.end()
    assert {name: values(readings, name) for name in together} == {"open": (10,), "lag": (1,), "spent": (2, 3)}
    assert values(readings, "took", "mail") == (2, 2, 2, 155)
    assert values(readings, "seen_total", "mail") == (3,)
    first.end()
    assert {name: values(readings, name) for name in together} == {"open": None, "lag": None, "spent": (2, 3)}
    assert values(readings, "seen_total", "mail") == (3,)


def test_what_this_process_counts_is_added() -> None:
    own = Meters()
    own.counter("seen_total", "Seen.").of().add(5)
    readings = ProcessReadings(own.read)
    process = Process(readings)
    process.meters.counter("seen_total", "Seen.").of().add(2)
    assert values(readings, "seen_total") == (7,)
    process.end()
    assert values(readings, "seen_total") == (7,)


def test_many_ended_processes_leave_no_series_and_no_descriptors(readings: ProcessReadings) -> None:
    def run(number: int) -> None:
        process = Process(readings)
        process.meters.counter("seen_total", "Seen.", ("queue", "outcome")).of("mail", "dead").add()
        process.meters.gauge("open", "Open.", ("group",)).of("loop").set(number)
        process.took(1, 10)
        process.end()

    def descriptors() -> int:
        gc.collect()  # what has written is in this process too
        return int(psutil.Process().num_fds())

    run(0)
    series, open_ones = len(readings.read()), descriptors()
    for number in range(300):
        run(number)
    assert len(readings.read()) == series == 2
    assert descriptors() == open_ones
    assert values(readings, "seen_total", "mail", "dead") == (301,)
    assert values(readings, "took", "mail") == (301, 301, 301, 301 * 77.5)


def test_series_of_all_processes_together_are_bounded(readings: ProcessReadings) -> None:
    living = []
    for number in range(10):
        process = Process(readings)
        process.meters.counter("seen_total", "Seen.", ("path",), most=3).of(f"/{number}").add()
        process.meters.gauge("open", "Open.", ("path",), most=3).of(f"/{number}").set(1)
        if number % 2:
            process.end()
        else:
            living.append(process)
    expected = {"/1": (1,), "/3": (1,), "/5": (1,), "other": (7,)}
    for _ in range(2):
        assert {each.labels[0]: each.values for each in found(readings, "seen_total")} == expected
    assert {each.labels[0]: each.values for each in found(readings, "open")} == {
        "/0": (1,),
        "/2": (1,),
        "/4": (1,),
        "other": (2,),
    }
    for process in living:
        process.end()
    assert {each.labels[0]: each.values for each in found(readings, "seen_total")} == expected
    assert found(readings, "open") == []


def test_no_bucket_falls_when_newer_processes_have_other_edges(readings: ProcessReadings) -> None:
    """As after a reload with another timeout or objective, whichever of the processes ends first."""
    before: dict[float, float] = {}
    total = 0
    processes = []

    def check(number: int) -> None:
        (reading,) = found(readings, "took")
        now = below(reading)
        assert sum(reading.values[:-1]) == number
        assert all(now[edge] >= count for edge, count in before.items() if edge in now), (before, now)
        before.clear()
        before.update(now)

    for edges in ((1, 10), (1, 5, 10, 100), (1, 50), (5, 10, 50)):
        process = Process(readings)
        process.took(*edges)
        processes.append(process)
        total += 3
        check(total)
        assert found(readings, "took")[0].edges == edges
    for index in (2, 0, 0, 0):
        processes.pop(index).end()
        check(total)
    assert found(readings, "took")[0].edges == (5, 10, 50)


def test_a_metric_that_a_new_release_declares_otherwise_counts_for_its_processes_only(
    readings: ProcessReadings,
) -> None:
    old, new = Process(readings), Process(readings)
    old.meters.counter("seen_total", "Seen.", ("queue",)).of("mail").add(3)
    assert values(readings, "seen_total", "mail") == (3,)
    new.meters.counter("seen_total", "Seen so far.", ("queue", "kind")).of("mail", "send").add(1)
    (reading,) = found(readings, "seen_total")
    assert (reading.metric.labels, reading.labels, reading.values) == (("queue", "kind"), ("mail", "send"), (1,))
    old.end()
    assert [each.labels for each in found(readings, "seen_total")] == [("mail", "send")]
    new.end()


def test_a_number_that_is_none_does_not_spoil_a_sum(readings: ProcessReadings, process: Process) -> None:
    series = process.meters.counter("seen_total", "Seen.").of()
    series.add(2)
    other = Process(readings)
    other.meters.counter("seen_total", "Seen.").of().add(float("nan"))
    other.end()
    assert values(readings, "seen_total") == (2,)


@pytest.mark.parametrize(
    "entry",
    [b"{not json", b'["series", 7, [], [], 100]', b'["series", 0, [], [], 99999999]', b'["series", 0, [], [], -5]'],
)
def test_a_memory_that_cannot_be_read_costs_its_own_series_only(
    entry: bytes, readings: ProcessReadings, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    process.meters.counter("seen_total", "Seen.").of().add(2)
    other = Process(readings)
    other.meters.counter("seen_total", "Seen.").of().add(1)
    assert other.meters._memory._append(entry)
    other.meters.counter("later_total", "Later.").of().add(1)
    for _ in range(2):
        assert values(readings, "seen_total") == (3,)
        assert values(readings, "later_total") is None
    assert [each.message for each in caplog.records if "cannot be read" in each.message] == caplog.messages[:1]
    other.end()
    assert values(readings, "seen_total") == (3,)


def test_the_end_of_a_process_that_is_not_read_is_nothing(readings: ProcessReadings) -> None:
    process = Process(readings)
    process.meters.counter("seen_total", "Seen.").of().add()
    process.end()
    readings.ended(process.reader)
    assert values(readings, "seen_total") == (1,)
