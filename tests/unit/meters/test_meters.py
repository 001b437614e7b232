"""Metrics count from any thread, keep their values when their memory is shared, and begin at 0 after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import msgspec
import pytest

from outlast.meters import Meters
from outlast.meters.memory import MemoryReader, create_shared
from outlast.meters.metric import Metric, Reading, spread_again


@pytest.fixture
def shared() -> Iterator[int]:
    fd = create_shared()
    yield fd
    os.close(fd)


def found(readings: list[Reading], name: str, *labels: str) -> tuple[float, ...] | None:
    return next((each.values for each in readings if (each.metric.name, each.labels) == (name, labels)), None)


def test_each_kind_keeps_what_was_counted() -> None:
    own = Meters()
    own.counter("seen_total", "Seen.", ("queue",)).of("mail").add(2)
    own.gauge("open", "Open.").of().set(3)
    own.summary("spent", "Spent.").of().observe(1.5, 2)
    own.histogram("took", "Took.", edges=(1, 10)).of().observe(0.5, 1, 2, 11)
    readings = own.read()
    assert found(readings, "seen_total", "mail") == (2,)
    assert found(readings, "open") == (3,)
    assert found(readings, "spent") == (2, 1.5)
    assert found(readings, "took") == (2, 1, 1, 14.5)


def test_a_gauge_without_a_value_is_not_read() -> None:
    own = Meters()
    series = own.gauge("open", "Open.").of()
    assert own.read() == []
    series.add(2)
    assert found(own.read(), "open") == (2,)
    series.clear()
    assert own.read() == []


def test_series_with_edges_of_their_own() -> None:
    own = Meters()
    took = own.histogram("took", "Took.", ("queue",), edges=(1,))
    took.with_edges((5, 2, 2), "mail").observe(3)
    took.of("other").observe(3)
    assert [(each.labels, each.edges, each.values) for each in own.read()] == [
        (("mail",), (2, 5), (0, 1, 0, 3)),
        (("other",), (1,), (0, 1, 3)),
    ]
    assert took.with_edges((9,), "mail") is took.of("mail")


def test_what_is_counted_by_several_threads_is_complete() -> None:
    own = Meters()
    series = own.counter("seen_total", "Seen.").of()

    def count() -> None:
        for _ in range(20_000):
            series.add()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found(own.read(), "seen_total") == (80_000,)


def test_a_reader_of_the_shared_memory_sees_what_was_counted_before_and_after(shared: int) -> None:
    own = Meters()
    seen, took = own.counter("seen_total", "Seen.", ("queue",)), own.histogram("took", "Took.", edges=(1,))
    seen.of("mail").add(2)
    series = took.of()
    series.observe(3)
    own.share(shared)
    reader = MemoryReader(shared)
    seen.of("mail").add()
    seen.of("pdf").add()
    series.observe(0.5)
    readings = reader.read()
    assert found(readings, "seen_total", "mail") == (3,)
    assert found(readings, "seen_total", "pdf") == (1,)
    assert found(readings, "took") == (1, 1, 3.5)
    assert [each.metric for each in readings if each.metric.name == "took"] == [took.metric]
    own.gauge("late", "Late.").of().set(1)
    assert found(reader.read(), "late") == (1,)
    reader.close()


def test_what_a_killed_process_counted_is_read(shared: int) -> None:
    own = Meters()
    pid = os.fork()
    if not pid:
        own.share(shared)
        own.counter("seen_total", "Seen.").of().add(7)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    reader = MemoryReader(shared)
    assert found(reader.read(), "seen_total") == (7,)
    reader.close()


def test_a_forked_process_begins_at_0_and_counts_for_itself(shared: int) -> None:
    own = Meters()
    series = own.counter("seen_total", "Seen.").of()
    series.add(5)
    own.share(shared)
    pid = os.fork()
    if not pid:
        series.add()
        os._exit(0 if found(own.read(), "seen_total") == (1,) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert found(own.read(), "seen_total") == (5,)


def test_series_beyond_the_bound_are_counted_as_other() -> None:
    own = Meters()
    seen = own.counter("seen_total", "Seen.", ("path",), most=3)
    for number in range(10):
        seen.of(f"/{number}").add()
    assert {each.labels[0]: each.values[0] for each in own.read()} == {"/0": 1, "/1": 1, "/2": 1, "other": 7}
    assert len(seen.series) == 4


def test_there_is_room_for_a_worker_with_a_thousand_kinds() -> None:
    own, fd = Meters(), create_shared()
    runs = own.counter("outlast_kind_runs_total", "Runs.", ("app", "kind", "outcome"), most=100_000)
    for number in range(10_000):
        runs.of("an_app_with_a_name", f"send_a_message_to_a_customer_{number}", "superseded").add()
    own.share(fd)
    assert len(own.read()) == len(MemoryReader(fd).read()) == 10_000


def test_what_finds_no_room_is_dropped_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    own = Meters()
    large = own.histogram("took", "Took.", ("n",), edges=range(60), most=100_000)
    for number in range(1500):
        large.of(number).observe(1)
    assert 900 < len(own.read()) < 1500
    own.histogram("later", "Later.", ("text",), edges=range(60)).of("x").observe(1)
    assert len(own.read()) < 1500
    (line,) = caplog.messages
    assert "the memory for metrics is full: took" in line


@pytest.mark.parametrize("text", ["a\nb" * 100, "\x1b[31m", "\ud800", "", 5, None])
def test_a_label_is_one_short_line_of_any_value(text: object) -> None:
    own = Meters()
    own.counter("seen_total", "Seen.", ("text",)).of(text).add()
    (reading,) = own.read()
    assert len(reading.labels[0]) <= 120
    assert reading.labels[0].isprintable()


def test_gauges_are_set_before_each_reading_as_long_as_their_part_lives() -> None:
    own = Meters()

    class Part:
        def refresh(self) -> None:
            own.gauge("open", "Open.").of().add(1)

    part = Part()
    own.before_reading(part.refresh)
    assert found(own.read(), "open") == (1,)
    assert found(own.read(), "open") == (2,)
    del part
    assert found(own.read(), "open") == (2,)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "seen", "kind": "counter"}, "_total"),
        ({"name": "seen_total", "kind": "gauge"}, "_total"),
        ({"name": "Seen_total", "kind": "counter"}, "no name"),
        ({"name": "seen_total", "kind": "counter", "labels": ("a b",)}, "no name"),
        ({"name": "took", "kind": "histogram"}, "edges"),
        ({"name": "took", "kind": "histogram", "edges": (2, 1)}, "edges"),
        ({"name": "took", "kind": "summary", "edges": (1,)}, "edges"),
    ],
)
def test_a_wrong_declaration_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Metric(help="", **wrong)  # type: ignore[arg-type]


def test_a_name_is_declared_once() -> None:
    own = Meters()
    assert own.gauge("open", "Open.") is own.gauge("open", "Open.")
    with pytest.raises(ValueError, match="twice"):
        own.gauge("open", "Closed.")
    with pytest.raises(ValueError, match="labels"):
        own.gauge("open", "Open.").of("mail")


def test_many_observations_at_once_count_as_one_by_one() -> None:
    """At an edge, below the first, above the last, all in one bucket."""
    edges = (0.5, 1, 2.5, 10)
    for values in ([0.5, 1, 1, 2.5, 10, 11], [0.1] * 5, [20.0], [0.6, 0.7, 9.0], [-1, 3], [10, 0.5]):
        own, other = Meters(), Meters()
        own.histogram("took", "Took.", edges=edges).of().observe(*values)
        for each in values:
            other.histogram("took", "Took.", edges=edges).of().observe(each)
        assert found(own.read(), "took") == pytest.approx(found(other.read(), "took"))
        assert sum(found(own.read(), "took") or ()) == pytest.approx(len(values) + sum(values))
    own.histogram("took", "Took.", edges=edges).of().observe()
    assert sum(found(own.read(), "took") or ()) == 2 + 10.5


def test_a_histogram_for_other_edges_keeps_its_total_and_what_both_can_tell() -> None:
    assert spread_again((1, 2, 3, 99.5), (1, 10), (1, 10)) == (1, 2, 3, 99.5)
    assert spread_again((1, 2, 3, 99.5), (1, 10), (1, 5, 10)) == (1, 0, 2, 3, 99.5)
    assert spread_again((1, 2, 3, 99.5), (1, 10), (5,)) == (1, 5, 99.5)
    assert spread_again((7.0,), (), ()) == (7.0,)


def test_what_one_process_has_counted_is_taken_once_and_added_in_another() -> None:
    child, own = Meters(), Meters()
    for each in (child, own):
        each.counter("seen_total", "Seen.", ("queue",)).of("mail").add(2)
    child.gauge("open", "Open.").of().set(3)
    child.counter("never_total", "Never.").of()
    child.summary("spent", "Spent.").of().observe(1.5, 2)
    child.histogram("took", "Took.", edges=(1, 10)).of().observe(0.5, 11)
    own.histogram("took", "Took.", edges=(1, 10)).with_edges((5,))
    sent = msgspec.json.decode(msgspec.json.encode(child.take()), type=list[Reading])
    own.add(sent)
    assert child.take() == []
    assert found(own.read(), "seen_total", "mail") == (4,)
    assert found(own.read(), "spent") == (2, 1.5)
    assert found(own.read(), "took") == (1, 1, 11.5)
    assert found(own.read(), "open") is None
    assert found(own.read(), "never_total") is None
    assert found(child.read(), "open") == (3,)
    child.counter("seen_total", "Seen.", ("queue",)).of("mail").add()
    own.add(child.take())
    assert found(own.read(), "seen_total", "mail") == (5,)
    with pytest.raises(ValueError, match="twice"):
        own.add([Reading(Metric(name="seen_total", kind="counter", help="Other."), (), (1.0,))])


def test_a_part_that_cannot_set_its_gauges_is_told_once_and_harms_no_reading(caplog: pytest.LogCaptureFixture) -> None:
    own = Meters()

    def fails() -> None:
        raise RuntimeError("a fault")

    def works() -> None:
        own.gauge("open", "Open.").of().add(1)

    own.before_reading(fails)
    own.before_reading(works)
    assert found(own.read(), "open") == (1,)
    assert found(own.read(), "open") == (2,)
    assert caplog.messages == ["gauges could not be set"]


def test_code_that_interrupts_a_count_may_count_itself() -> None:
    """As a finalizer or a signal handler does, in the same thread."""
    own = Meters()
    series = own.counter("seen_total", "Seen.").of()
    with own.lock:
        series.add()
    assert found(own.read(), "seen_total") == (1,)
