"""What a breaker answers: admissions, refusals, the offer of the probe, a view; and the shared state that it takes."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal

from msgspec import Struct

from outlast.core.guards.record import Held

__all__ = [
    "PROBE_DUE",
    "Admission",
    "BreakerView",
    "CallOutcome",
    "Held",
    "ProbeDue",
    "BreakerState",
    "Refusal",
    "SharedBreaker",
    "Transition",
]

CallOutcome = Literal["success", "failure", "neutral"]
"""How a call counts; neutral: it says nothing about the dependency (cancelled, ignored, never begun)."""
Transition = Literal["", "opened", "closed"]
"""What a step did: "opened" (also: a probe failed, it stays open), "closed" (the probe succeeded), "" (neither)."""
BreakerState = Literal["closed", "open", "half-open"]


class Admission(Struct, eq=False, gc=False):
    """The permission for one call, to be given back with `end`. Equal to itself only."""

    generation: int
    started: float
    probe: bool = False


class Refusal(Struct, frozen=True):
    """No call may be made. retry_after: seconds until one may be, as far as is known. why: for people."""

    retry_after: float
    why: str


class ProbeDue(Enum):
    """The answer to the one caller that is to get the probe: `grant_probe` or `pass_probe` must follow."""

    NOW = "probe due"


PROBE_DUE: Final = ProbeDue.NOW


class SharedBreaker(Struct, frozen=True):
    """The state that all processes share, with its times on this process's monotonic clock.

    generation: grows with each change of the shared state, also with each probe. since, probe_at: of the opening and of
    the next probe, if it is open. closed_at: the end of the last opening, from which the ramp counts, None for none.
    reset_at: of the last reset by hand, None if there was none.
    """

    generation: int
    open: bool
    since: float
    probe_at: float
    held: Held = ""
    closed_at: float | None = None
    reset_at: float | None = None


class BreakerView(Struct, frozen=True):
    """What people may see of a breaker.

    state: "half-open" while a probe is out. since: the time of the last change of state. next_probe: seconds, None
    while it is closed or held. share: the share of the calls that is made. stale: results that came too late to count.
    """

    state: BreakerState
    since: float
    next_probe: float | None
    calls: int
    failures: int
    slow: int
    in_flight: int
    share: float
    stale: int
    held: Held
    why: str
