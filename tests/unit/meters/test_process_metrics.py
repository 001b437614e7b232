"""What a process uses: counted once, whichever of its parts ask, and from 0 again in a process that was forked."""

from __future__ import annotations

import time

from outlast.meters import meters
from outlast.meters.process_metrics import show_process_use
from tests.support.forks import in_fork


def cpu() -> float:
    (found,) = [each.values[0] for each in meters.read() if each.metric.name == "outlast_process_cpu_seconds_total"]
    return found


def test_cpu_is_counted_once_whoever_asks_for_it() -> None:
    show_process_use()
    show_process_use()
    before, began = cpu(), time.process_time()
    while time.process_time() < began + 0.02:
        pass
    assert 0.02 <= cpu() - before <= time.process_time() - began + 0.01


def test_a_forked_process_counts_its_own() -> None:
    show_process_use()
    spent = time.process_time()
    while time.process_time() < spent + 0.05:
        pass
    assert cpu() > 0.05

    def own() -> bool:
        show_process_use()
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        return 0.02 <= cpu() <= time.process_time()

    assert in_fork(own)
