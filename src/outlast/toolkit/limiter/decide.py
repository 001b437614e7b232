"""Decides over all limits of a key: pure functions over the key's state; lua/take.lua is the same on a server.

GCRA: the continuous-state leaky bucket of ITU-T I.371, which admits what its virtual scheduling (a theoretical arrival
time) admits: a state (time, parts in the bucket). Fixed window: (index of the window, used), the windows counted from
1970. Sliding window: (time, used, time, used, ...): requests of one step are one entry, which counts until a period
after the last of them, so that no period of any start has more than the count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from outlast.toolkit.limiter.quotas import Quota, Rules

__all__ = ["Outcome", "Standing", "State", "decide"]

State = list[list[int]]
"""The numbers of each limit of a key."""


class Standing(Struct, frozen=True):
    """Where a limit stands after a decision. Microseconds: reset until all is back, wait until the cost fits.

    more: until one request more than `remaining` would be admitted; 0 if all is there.
    """

    remaining: int
    reset: int
    wait: int
    more: int


class Outcome(Struct, frozen=True):
    """A decision. state: to be kept until `expires`, microseconds since 1970; None if nothing has changed."""

    allowed: bool
    standings: tuple[Standing, ...]
    state: State | None
    expires: int


def decide(rules: Rules, state: State | None, now: int, cost: int, *, scale: int = 1) -> Outcome:
    """Return the decision for a cost at `now`, microseconds since 1970. The cost is taken from all limits or from none.

    scale: what a request of cost 1 costs, at most all of a limit: the number of processes that share the limits.
    """
    current, take, view = _FORMS[rules.algorithm]
    quotas = rules.quotas
    costs = [min(cost * scale, quota.burst) for quota in quotas]
    kept = [current(quota, state[at] if state else [], now) for at, quota in enumerate(quotas)]
    allowed = not any(view(*each, now)[2] for each in zip(quotas, kept, costs, strict=True))
    # Times in the future are kept as those of now: else a key would be shut out until the clock is there again.
    changed = allowed or rules.count_refused or _was_set_back(state, kept)
    if allowed or rules.count_refused:
        kept = [take(*each, now) for each in zip(quotas, kept, costs, strict=True)]
    standings = tuple(
        _standing(view, *each, now, allowed=allowed, scale=scale) for each in zip(quotas, kept, costs, strict=True)
    )
    expires = now + max(each.reset for each in standings)
    return Outcome(allowed, standings, kept if changed else None, expires)


def _was_set_back(state: State | None, kept: State) -> bool:
    """Whether the last time in a state was in the future."""
    return any(then and now and now[-2] < then[-2] for then, now in zip(state or (), kept, strict=False))


def _standing(
    view: _View, quota: Quota, state: list[int], cost: int, now: int, *, allowed: bool, scale: int
) -> Standing:
    remaining, reset, wait = view(quota, state, cost, now)
    one_more = min((remaining // scale + 1) * scale, quota.burst)
    return Standing(remaining, reset, 0 if allowed else wait, view(quota, state, one_more, now)[2])


def _gcra_current(quota: Quota, state: list[int], now: int) -> list[int]:
    if not state:
        return [now, 0]
    at, parts = state
    return [now, max(0, parts - max(0, now - at) * quota.drain)]


def _gcra_take(quota: Quota, state: list[int], cost: int, now: int) -> list[int]:
    return [now, min(state[1] + cost * quota.part, quota.capacity)]


def _gcra_view(quota: Quota, state: list[int], cost: int, now: int) -> tuple[int, int, int]:
    parts = state[1]
    beyond = parts + cost * quota.part - quota.capacity
    return (
        (quota.capacity - parts) // quota.part,
        -(-parts // quota.drain),
        -(-beyond // quota.drain) if beyond > 0 else 0,
    )


def _fixed_current(quota: Quota, state: list[int], now: int) -> list[int]:
    index = now // quota.period
    if not state or index > state[0]:
        return [index, 0]
    # After a clock was set back this window or the next one: a window that began again would give back early.
    return [min(state[0], index + 1), state[1]]


def _fixed_take(quota: Quota, state: list[int], cost: int, now: int) -> list[int]:
    return [state[0], min(state[1] + cost, quota.count)]


def _fixed_view(quota: Quota, state: list[int], cost: int, now: int) -> tuple[int, int, int]:
    left = (state[0] + 1) * quota.period - now
    return quota.count - state[1], left, left if state[1] + cost > quota.count else 0


def _sliding_current(quota: Quota, state: list[int], now: int) -> list[int]:
    kept: list[int] = []
    for at in range(0, len(state), 2):
        time = min(state[at], now)
        if time + quota.period > now:
            _add(quota, kept, time, state[at + 1])
    return kept


def _sliding_take(quota: Quota, state: list[int], cost: int, now: int) -> list[int]:
    kept = list(state)
    _add(quota, kept, now, cost)
    newer = sum(kept[3::2])
    while newer >= quota.count and len(kept) > 2:  # what is older ends before a request could fit
        del kept[:2]
        newer -= kept[1]
    return kept


def _sliding_view(quota: Quota, state: list[int], cost: int, now: int) -> tuple[int, int, int]:
    used = sum(state[1::2])
    remaining, wait = max(0, quota.count - used), 0
    for at in range(0, len(state), 2):
        if used + cost <= quota.count:
            break
        used -= state[at + 1]
        wait = state[at] + quota.period - now
    return remaining, state[-2] + quota.period - now if state else 0, wait


def _add(quota: Quota, kept: list[int], time: int, used: int) -> None:
    """Add what was used at a time, to the last entry if it is of the same step."""
    if kept and kept[-2] // quota.step == time // quota.step:
        kept[-2:] = [time, min(kept[-1] + used, quota.count)]
    else:
        kept += [time, min(used, quota.count)]


_Current = Callable[[Quota, list[int], int], list[int]]
_Take = Callable[[Quota, list[int], int, int], list[int]]
_View = Callable[[Quota, list[int], int, int], tuple[int, int, int]]
"""Returns remaining, reset and wait, as of `Standing`."""

_FORMS: Final[dict[str, tuple[_Current, _Take, _View]]] = {
    "gcra": (_gcra_current, _gcra_take, _gcra_view),
    "fixed": (_fixed_current, _fixed_take, _fixed_view),
    "sliding": (_sliding_current, _sliding_take, _sliding_view),
}
