"""Counts that are made before a reading: once, and in the process where they were."""

from __future__ import annotations

import os

from outlast.meters import meters
from outlast.toolkit.metrics import CacheReads
from tests.support.counts import Counted, value_of

READS = "outlast_cache_reads_total"


def test_reads_of_copies_are_counted_at_each_reading_once() -> None:
    reads, counted = CacheReads("copies"), Counted(READS, "copies")
    assert counted.added == {}
    reads.copies += 3
    assert counted.added == {"near": 3}
    meters.refresh()
    assert counted.added == {"near": 3}
    reads.copies += 1
    assert counted.added == {"near": 4}


def test_a_forked_process_does_not_count_what_its_parent_has() -> None:
    reads = CacheReads("copies of a fork")
    reads.copies += 3
    pid = os.fork()
    if not pid:
        reads.copies += 1
        os._exit(0 if value_of(READS, "copies of a fork", "near") == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert value_of(READS, "copies of a fork", "near") == 3
