"""Who runs next. The memory broker runs this; every other store must give out the same ids in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

__all__ = ["Place", "Selection", "select"]


class Place(Struct, frozen=True, order=True, gc=False):
    """A due job's place in its queue: lower `rank` first (milliseconds), then the order of acceptance."""

    rank: int
    order: int
    id: str


class Selection(Struct, frozen=True):
    """What `select` looks at: the due places of each queue that may be served, sorted, and the queue served last."""

    lines: Mapping[str, Sequence[Place]]
    last: str = ""


def select(state: Selection, n: int, demand: Mapping[str, int]) -> tuple[list[Place], str]:
    """Return at most `n` places, at most `demand[q]` of queue q, and the queue that gave the last of them.

    Queues give one job each in turn, by name, beginning behind the one that gave the last job of the call before;
    within a queue the lowest (rank, order) goes first, so what is picked is the head of each line. Costs
    O(q log q + n) for q queues asked for, however many jobs wait.
    """
    room = {name: min(demand[name], len(state.lines.get(name, ()))) for name in sorted(demand)}
    names = [name for name, most in room.items() if most > 0]
    start = sum(name <= state.last for name in names)
    ring = names[start:] + names[:start]
    picked: list[Place] = []
    last = state.last
    turn = 0
    while ring and len(picked) < n:
        for name in ring[: n - len(picked)]:
            picked.append(state.lines[name][turn])
            last = name
        turn += 1
        ring = [name for name in ring if room[name] > turn]
    return picked, last
