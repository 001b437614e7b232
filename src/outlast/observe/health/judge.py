"""Whether a service lives, is ready and has started: pure, from what is seen of it.

A worker is frozen, and its service not live, when all of this holds: the store answers; a queue of the worker is not
paused and has due jobs, which no limit holds back; the worker has room for one of them, and no guard holds the queue;
and no claim has come back for `patience` seconds since all of that is so. A store that is away, an open breaker, a long
job and a busy CPU each break one of these conditions: a restart would not help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from outlast.core.store.broker import QueueStats
from outlast.core.text import counted
from outlast.observe.health.views import Check, HealthAnswer, ServiceView, WorkerView

__all__ = ["CONSUMES", "PATIENCE", "frozen_queues", "is_live", "is_ready", "is_started", "suspects"]

PATIENCE: Final = 60.0
"""Seconds without a claim that came back, after which a worker counts as frozen: a claim waits for 5 s, and a call that
hangs is given up after 35 s."""
CONSUMES: Final = 15.0
"""Seconds without a claim that came back, after which a worker no longer counts as ready."""


def suspects(workers: Sequence[WorkerView], patience: float = PATIENCE) -> list[WorkerView]:
    """Return the workers that are frozen if a queue that they ask for has a job for them."""
    return [each for each in workers if each.state == "consuming" and not each.away and each.due >= patience]


def frozen_queues(worker: WorkerView, stats: Mapping[str, QueueStats]) -> tuple[str, ...]:
    """Return the queues of a suspect that have a job for it."""
    return tuple(queue for queue in worker.asked if queue in stats and _has_job(stats[queue]))


def _has_job(stats: QueueStats) -> bool:
    """Whether a claim would be handed out a job: due, and held back neither by a pause nor by a limit."""
    # Then jobs without a key are taken for held too: too few restarts, and not too many.
    all_keys_held = stats.keys_held > 0 and stats.keys == 0
    return stats.ready > 0 and not stats.paused and not stats.held and not all_keys_held


def is_live(seen: ServiceView) -> HealthAnswer:
    """Return whether to leave the service alone; if not, a restart helps."""
    if seen.frozen and not seen.stopping:
        pid, queues = next(iter(seen.frozen.items()))
        due = max((each.due for each in seen.workers if each.pid == pid), default=0.0)
        named = ", ".join(queues)
        return HealthAnswer(
            False,
            "frozen",
            f"worker {pid} has free slots and due jobs in {named}, and no claim of it has come back for {due:.0f} s: "
            "restart the service",
        )
    if seen.stopping:
        return HealthAnswer(True, "draining", "it drains")
    return HealthAnswer(True, "live" if seen.came_up else "starting", _told(seen))


def is_started(seen: ServiceView) -> HealthAnswer:
    """Return whether the start is over: a worker has consumed, or waits for the store with the app imported."""
    if seen.came_up or seen.stopping:
        return HealthAnswer(True, "started", _told(seen))
    if any(each.state == "opening" for each in seen.workers):
        return HealthAnswer(True, "started", "the app is imported, a worker opens its store")
    return HealthAnswer(False, "starting", _told(seen))


def is_ready(seen: ServiceView) -> HealthAnswer:
    """Return whether it consumes. A guard that holds a queue is told, and does not count: the queue waits for it."""
    consuming = [each for each in seen.workers if each.state == "consuming"]
    working = [each for each in consuming if not each.away and each.due < CONSUMES and each.pid not in seen.frozen]
    away = sum(each.away for each in consuming)
    shut = sorted({queue for each in consuming for queue in each.shut})
    checks = (
        Check("consuming", bool(working), _told(seen)),
        Check(
            "broker", not away, f"claims and settlements of {counted(away, 'worker')} fail" if away else "it answers"
        ),
        Check(
            "guards", not shut, f"open guards hold {', '.join(shut)}" if shut else "none holds a queue", counts=False
        ),
    )
    if seen.stopping:
        return HealthAnswer(False, "draining", "it drains: it takes no more jobs", checks)
    if not seen.came_up:
        return HealthAnswer(False, "starting", _told(seen), checks)
    if not working:
        return HealthAnswer(False, "unready", "no worker consumes", checks)
    return HealthAnswer(True, "ready", _told(seen), checks)


def _told(seen: ServiceView) -> str:
    """Return how many workers are in which state."""
    states = [each.state for each in seen.workers]
    told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{counted(len(states), 'worker')}: {told}" if told else "no worker runs"
