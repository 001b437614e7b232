"""How one claim over queues that lie apart is shared out, so that they give what core.select would have picked."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["share_out"]


def share_out(left: int, given: Mapping[str, int], most: Mapping[str, int]) -> dict[str, int]:
    """Return how many more to ask of each queue, `left` in all: one each in turn, those that gave fewer first.

    given: what each gave so far, in the order of their turns; most: what it may give in all. A queue that is asked for
    nothing is left out. Costs O(q^2) for q queues, however many jobs there are.
    """
    level = dict(given)
    while left > 0:
        open_ones = [name for name, count in level.items() if count < most[name]]
        if not open_ones:
            break
        lowest = min(level[name] for name in open_ones)
        low = [name for name in open_ones if level[name] == lowest][:left]
        # All of them rise together: until one is full, or they meet the next, or there is no whole turn left.
        bounds = [most[name] for name in low] + [level[name] for name in open_ones if level[name] > lowest]
        step = max(1, min(left // len(low), min(bounds) - lowest))
        for name in low:
            level[name] += step
        left -= step * len(low)
    return {name: count - given[name] for name, count in level.items() if count > given[name]}
