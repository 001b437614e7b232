"""The slot map: what the writer wrote is what the reader of another process sees."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from outlast.core.message import Delivery, Fence
from outlast.worker.job_map import CLAIMED, ENDED, STARTED, JobEntry, SharedJobMap
from tests.support.jobs import message


@pytest.fixture
def fd() -> Iterator[int]:
    fd = SharedJobMap.create(3)
    yield fd
    os.close(fd)


@pytest.fixture
def both(fd: int) -> Iterator[tuple[SharedJobMap, SharedJobMap]]:
    writer, reader = SharedJobMap(fd, 3), SharedJobMap(fd, 3)
    yield writer, reader
    writer.close()
    reader.close()


def delivery(id: str, token: int) -> Delivery:
    return Delivery(message(id, 5.0), Fence(id, id.partition(".")[0], token, 77), 4, 1)


def test_a_job_goes_through_its_states(both: tuple[SharedJobMap, SharedJobMap]) -> None:
    writer, reader = both
    first = writer.take(delivery("mail.a", 1))
    second = writer.take(delivery("mail." + "x" * 128, 2))
    assert [slot.state for slot in reader.read()] == [CLAIMED, CLAIMED]
    assert reader.read()[0] == JobEntry(CLAIMED, Fence("mail.a", "mail", 1, 77), 5.0, 4, 1, 0.0)
    writer.start(first, 99.5)
    assert reader.read()[0] == JobEntry(STARTED, Fence("mail.a", "mail", 1, 77), 5.0, 4, 1, 99.5)
    assert reader.running()
    writer.end(first)
    assert [slot.state for slot in reader.read()] == [ENDED, CLAIMED]
    assert not reader.running()
    writer.clear(first)
    assert [slot.fence.id for slot in reader.read()] == ["mail." + "x" * 128]
    writer.clear(second)
    assert reader.read() == []


def test_a_slot_is_used_again_without_traces_of_the_last_job(both: tuple[SharedJobMap, SharedJobMap]) -> None:
    writer, reader = both
    for number in range(10):
        index = writer.take(delivery("mail.a-long-name", number))
        writer.start(index, 10.0)
        writer.clear(index)
    writer.take(delivery("m.b", 11))
    assert reader.read() == [JobEntry(CLAIMED, Fence("m.b", "m", 11, 77), 5.0, 4, 1, 0.0)]


def test_the_longest_id_fits(both: tuple[SharedJobMap, SharedJobMap]) -> None:
    writer, reader = both
    longest = "q" * 64 + "." + "x" * 128
    writer.take(delivery(longest, 1))
    assert reader.read()[0].fence.id == longest


def test_a_map_has_room_for_what_the_worker_may_hold(both: tuple[SharedJobMap, SharedJobMap]) -> None:
    writer, reader = both
    for number in range(3):
        writer.take(delivery(f"m.{number}", number))
    assert len(reader.read()) == 3


def test_the_beat_is_seen(both: tuple[SharedJobMap, SharedJobMap]) -> None:
    writer, reader = both
    assert (reader.last_beat, reader.finished, reader.ready) == (0.0, 0, False)
    writer.beat(12.5, 42, ready=True)
    assert (reader.last_beat, reader.finished, reader.ready) == (12.5, 42, True)


def test_a_map_grows_before_it_is_used() -> None:
    fd = SharedJobMap.create(0)
    SharedJobMap.grow(fd, 2)
    slots = SharedJobMap(fd, 2)
    slots.take(delivery("m.a", 1))
    assert len(slots.read()) == 1
    slots.close()
    os.close(fd)


def test_a_job_that_never_started_does_not_look_as_if_it_had(both: tuple[SharedJobMap, SharedJobMap]) -> None:
    """A job that ended without a run (released, expired) is no cause of a crash."""
    writer, reader = both
    index = writer.take(delivery("mail.a", 1))
    writer.end(index)
    assert [slot.state for slot in reader.read()] == [CLAIMED]


def test_only_a_worker_that_says_so_has_left_in_peace(both: tuple[SharedJobMap, SharedJobMap]) -> None:
    writer, reader = both
    writer.beat(1.0, 2, ready=True)
    assert bool(reader.left) is False
    writer.leave()
    writer.beat(2.0, 3, ready=True)
    assert bool(reader.left) is True
    assert (reader.last_beat, reader.finished, reader.ready) == (2.0, 3, True)
