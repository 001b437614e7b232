"""Who runs next. The memory broker runs this; every other store must give out the same ids in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

__all__ = ["Place", "Selection", "select"]


class Place(Struct, frozen=True, order=True, gc=False):
    """A waiting job's place in its queue: lower `rank` first (milliseconds), then the order of acceptance."""

    rank: int
    order: int
    id: str
    at: float = 0.0
    """When it is due, wall time in seconds; a job that is not due is passed over."""


class Selection(Struct, frozen=True):
    """What `select` looks at: the places of each queue that may be served, and the queue that was served last."""

    lines: Mapping[str, Sequence[Place]]
    last: str = ""


def select(state: Selection, now: float, n: int, demand: Mapping[str, int]) -> tuple[list[str], Selection]:
    """Return at most `n` ids, at most `demand[q]` of queue q, and the state without them.

    Queues give one job each in turn, by name, beginning behind the one that gave the last job of the call before;
    within a queue the due job with the lowest (rank, order) goes first. Costs O(w log w) for w waiting jobs.
    """
    names = sorted(name for name in demand if demand[name] > 0 and state.lines.get(name))
    start = sum(name <= state.last for name in names)
    ring = names[start:] + names[:start]
    due = {
        name: sorted(place for place in state.lines[name] if place.at <= now)[: min(n, demand[name])] for name in ring
    }
    picked: list[str] = []
    last = state.last
    for turn in range(max(map(len, due.values()), default=0)):
        for name in ring:
            if turn < len(due[name]) and len(picked) < n:
                picked.append(due[name][turn].id)
                last = name
    gone = set(picked)
    lines = {name: [place for place in places if place.id not in gone] for name, places in state.lines.items()}
    return picked, Selection(lines, last)
