"""The claims that are due, as the supervisor reads them in the shared memory."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from outlast.worker.claim_signs import ClaimSigns, named
from outlast.worker.job_map import SharedJobMap


@pytest.fixture
def fd() -> Iterator[int]:
    fd = SharedJobMap.create(0)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    "signs",
    [
        ClaimSigns(),
        ClaimSigns(12.5, True, (0, 3, 1023), (1,)),
        ClaimSigns(0.25, False, tuple(range(1024)), tuple(range(0, 1024, 2))),
    ],
)
def test_what_is_written_is_read(fd: int, signs: ClaimSigns) -> None:
    writer, reader = SharedJobMap(fd, 0), SharedJobMap(fd, 0)
    writer.tell_claims(ClaimSigns(1.0, True, (5, 6), (7,)))
    writer.tell_claims(signs)
    writer.beat(3.0, 9, ready=True)
    assert (reader.claims, reader.last_beat, reader.finished, reader.left) == (signs, 3.0, 9, False)
    for each in (writer, reader):
        each.close()


def test_queues_beyond_the_bound_have_no_claim_due(fd: int) -> None:
    both = SharedJobMap(fd, 0)
    both.tell_claims(ClaimSigns(1.0, False, (1, 1024, 5000)))
    assert both.claims.asked == (1,)
    both.close()


def test_that_the_store_is_opened_is_seen_before_there_is_a_map(fd: int) -> None:
    writer, reader = SharedJobMap(fd, 0), SharedJobMap(fd, 0)
    seen = [reader.opening]
    writer.opens()
    assert ([*seen, reader.opening], reader.left) == ([False, True], False)
    for each in (writer, reader):
        each.close()


def test_numbers_have_the_names_of_the_hello() -> None:
    assert named((0, 2, 9), ("a", "b", "c")) == ("a", "c")
