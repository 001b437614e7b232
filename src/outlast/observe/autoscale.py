"""How many replicas of a worker service a queue needs, to be drained within a time: pure, from what the store measures.

The model is the one of core.forecast: jobs arrive and end at steady rates. With n workers that each end `r` jobs a
second, a backlog of `b` jobs is gone within `t` seconds when n * r = arrivals + b / t.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from outlast.core.store.broker import QueueStats

__all__ = ["WITHIN", "Scale", "replicas_for", "workers_for"]

WITHIN: Final = 60.0
"""Seconds within which a backlog should be gone, where none are given."""
_ROUNDING: Final = 1e-6
_SOME: Final = 0.01
"""Workers that make one replica, however many processes it has."""


class Scale(Struct, frozen=True):
    """replicas: of the service. workers: worker processes that the queues need. why: what else than rates decided."""

    replicas: int
    workers: float
    waiting: int
    within: float
    why: dict[str, str] = {}


def replicas_for(stats: Mapping[str, QueueStats], *, within: float, processes: int) -> Scale:
    """Return how many replicas the queues need together. processes: worker processes of one replica.

    The answer is 0 for queues without work: the autoscaler has the bounds.
    """
    needs = {queue: workers_for(each, within) for queue, each in stats.items()}
    workers = sum(number for number, _ in needs.values())
    replicas = math.ceil(workers / processes - _ROUNDING)
    why = {queue: why for queue, (_, why) in needs.items() if why}
    waiting = sum(each.ready for each in stats.values())
    return Scale(replicas, round(workers, 3), waiting, within, why)


def workers_for(stats: QueueStats, within: float) -> tuple[float, str]:
    """Return how many workers a queue needs, and what decided, "" where the rates did."""
    now = float(stats.consumers)
    if stats.paused:
        return (now if stats.running else 0.0), "it is paused"
    ends, arrivals = stats.forecast.ends, stats.forecast.arrivals
    if not now:
        return float(
            stats.ready > 0
        ), "no worker consumes it: the first one tells how fast it is" if stats.ready else ""
    if ends is None or ends <= 0:
        return (now if stats.ready or stats.running else 0.0), stats.forecast.why or "its rate is not known yet"
    needed = (arrivals + stats.ready / within) * now / ends
    if stats.held and needed > now:
        return now, f"its limit on {stats.held} holds it, and more workers do not help"
    if stats.running and stats.running / ends > within and needed < now:
        # By Little's law its runs last longer than the objective: a worker that goes would take them along.
        return now, "its jobs run for longer than the objective"
    if stats.running and not needed:
        return _SOME, ""
    return needed, ""
