"""What is counted of worker processes: in which state they are, and how they have ended."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Final

from outlast.core.exitcodes import STALLED
from outlast.meters import meters
from outlast.observe.health.views import STATES, WorkerView
from outlast.supervisor.process import ProcessExit

__all__ = ["HOWS", "count_exit", "how", "show_hows", "show_states"]

HOWS: Final = ("clean", "recycled", "crashed", "killed", "stalled")

_EXITS: Final = meters.counter(
    "outlast_worker_exits_total",
    "Ends of worker processes: clean (stopped with the service), recycled (replaced by a new one before), crashed (an "
    "error or a signal), killed (SIGKILL: by the system, or past a hard deadline or a grace period), stalled (its "
    "event loop or its store stopped answering).",
    ("app", "how"),
)
_PROCESSES: Final = meters.gauge(
    "outlast_worker_processes",
    "Worker processes by state: starting (imports the app), opening (waits for the store or a hook), consuming, silent "
    "(its event loop has not run for a lease), draining.",
    ("app", "state"),
)


def how(ended: ProcessExit, *, stopping: bool = False) -> str:
    """Return how a worker process has ended, in one word of HOWS. A SIGKILL is clean for one case only.

    stopping: the service stops. It kills the workers that have not begun to work then: no job is lost, and a deploy
    during a start or a reload must not look like a death.
    """
    if stopping and ended.killed_for == "forced" and not ended.ready:
        return "clean"
    if ended.killed_for == "stalled" or ended.code == STALLED:
        return "stalled"
    if ended.code == -signal.SIGKILL:
        return "killed"
    if ended.code == 0 and ended.left:
        return "recycled" if ended.replaced else "clean"
    return "crashed"


def count_exit(app: str, ended: ProcessExit, *, stopping: bool = False) -> None:
    """Count the end of a worker process."""
    _EXITS.of(app, how(ended, stopping=stopping)).add()


def show_hows(app: str) -> None:
    """Show each way to end from now on: at 0, so that the first end of a kind is an increase."""
    for each in HOWS:
        _EXITS.of(app, each)


def show_states(app: str, workers: Iterable[WorkerView]) -> None:
    """Set how many worker processes are in each state."""
    states = [each.state for each in workers]
    for state in STATES:
        _PROCESSES.of(app, state).set(states.count(state))
