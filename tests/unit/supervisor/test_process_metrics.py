"""How worker processes end, and in which state they are, as it is counted."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.core.exitcodes import CONFIG, FAILED, STALLED
from outlast.core.message import Holder
from outlast.meters import meters
from outlast.observe.health.views import WorkerView
from outlast.supervisor.process import ProcessExit
from outlast.supervisor.process_metrics import HOWS, count_exit, how, show_hows, show_states


def ended(
    code: int, killed_for: str = "", *, ready: bool = True, left: bool = False, replaced: bool = False
) -> ProcessExit:
    reason: Any = killed_for
    return ProcessExit(Holder("h"), code, reason, (), ready=ready, lived=1.0, left=left, replaced=replaced)


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (ended(0, left=True), "clean"),
        (ended(0, left=True, replaced=True), "recycled"),
        (ended(-9), "killed"),
        (ended(-9, "overdue"), "killed"),
        (ended(-9, "forced"), "killed"),
        (ended(-9, "forced", replaced=True), "killed"),
        (ended(-9, "stalled"), "stalled"),
        (ended(STALLED, left=True), "stalled"),
        (ended(0), "crashed"),
        (ended(FAILED), "crashed"),
        (ended(CONFIG, left=True), "crashed"),
        (ended(-11), "crashed"),
        (ended(-15), "crashed"),
    ],
)
def test_how_a_worker_has_ended(end: ProcessExit, word: str) -> None:
    """A handler that calls os._exit(0) has not left in peace."""
    assert how(end) == word
    assert word in HOWS


def test_a_stop_during_a_start_is_no_death() -> None:
    starting = ended(-9, "forced", ready=False)
    assert how(starting, stopping=True) == "clean"
    assert how(starting) == "killed"  # it was to replace another one, and did not come up
    assert how(ended(-9, "forced"), stopping=True) == "killed"  # past its grace period, with its jobs
    assert how(ended(-9, ready=False), stopping=True) == "killed"  # by the system


def values(name: str, app: str) -> dict[str, float]:
    found = [each for each in meters.read() if each.metric.name == name and each.labels[0] == app]
    return {each.labels[1]: each.values[0] for each in found}


def test_each_way_to_end_is_there_at_0_before_the_first_one() -> None:
    show_hows("ends")
    assert values("outlast_worker_exits_total", "ends") == dict.fromkeys(HOWS, 0.0)
    count_exit("ends", ended(-9))
    assert values("outlast_worker_exits_total", "ends") == {**dict.fromkeys(HOWS, 0.0), "killed": 1.0}


def test_workers_are_counted_by_state() -> None:
    show_states("states", [WorkerView(pid=1, state="consuming"), WorkerView(pid=2, state="consuming")])
    show_states("states", [WorkerView(pid=1, state="draining"), WorkerView(pid=2, state="consuming")])
    found = values("outlast_worker_processes", "states")
    assert found == {"starting": 0, "opening": 0, "consuming": 1, "silent": 0, "draining": 1}
