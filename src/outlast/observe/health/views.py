"""What is seen of a service and its workers, and the answers to the three questions of a probe, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

__all__ = ["STATES", "Check", "HealthAnswer", "ServiceView", "WorkerState", "WorkerView"]

WorkerState = Literal["starting", "opening", "consuming", "silent", "draining"]
STATES: tuple[WorkerState, ...] = ("starting", "opening", "consuming", "silent", "draining")
"""Of a worker process: it imports the app; it waits for the store and the hooks of its start; it consumes; its event
loop has not run for the length of a lease; it was told to stop."""


class WorkerView(Struct, frozen=True, kw_only=True):
    """One worker process.

    due: seconds for which a claim should have come back, 0 when none is due. away: whether its calls to the store fail.
    asked: the queues of which it has room for a job, and no guard holds. shut: those that guards hold.
    """

    pid: int
    state: WorkerState
    due: float = 0.0
    away: bool = False
    asked: tuple[str, ...] = ()
    shut: tuple[str, ...] = ()


class ServiceView(Struct, frozen=True, kw_only=True):
    """A supervisor with its workers.

    stopping: it drains. came_up: a worker has consumed since its start. frozen: the queues with due jobs of the workers
    whose claims do not come back, by pid.
    """

    workers: tuple[WorkerView, ...] = ()
    stopping: bool = False
    came_up: bool = False
    frozen: Mapping[int, tuple[str, ...]] = {}


class Check(Struct, frozen=True):
    """One of the things that an answer depends on, or, with `counts` false, only tells."""

    name: str
    ok: bool
    text: str
    counts: bool = True


class HealthAnswer(Struct, frozen=True):
    """The answer to one question. state: one word. text: one sentence for people."""

    ok: bool
    state: str
    text: str
    checks: tuple[Check, ...] = ()
