"""Splits a claim over several queues into rounds of requests, and merges the replies: the jobs that core.select picks.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from outlast.brokers.redis.claim import ClaimReply
from outlast.core.errors import StoreError
from outlast.core.message import Delivery
from outlast.core.select import wanted

__all__ = ["ClaimRound", "claim_order", "merged", "next_shares", "share_out"]


class ClaimRound(NamedTuple):
    """The share that was requested from each queue at the same time, and the answer of each."""

    shares: Mapping[str, int]
    answers: Mapping[str, ClaimReply | StoreError]


def claim_order(demand: Mapping[str, int], last: str) -> list[str]:
    """Return the queues with a demand in the order of their turns, beginning after the queue `last`."""
    names = wanted(demand)
    behind = sum(name <= last for name in names)
    return [*names[behind:], *names[:behind]]


def next_shares(
    order: Sequence[str], rounds: Sequence[ClaimRound], demand: Mapping[str, int], limit: int
) -> dict[str, int]:
    """Return how many jobs to request from each queue next; {} when the claim is complete.

    A queue that returned fewer than its share, or failed, gets no more requests: the others get the rest. So there are
    at most as many rounds as queues.
    """
    counts = dict.fromkeys(order, 0)
    for shares, answers in rounds:
        for name, answer in answers.items():
            count = 0 if isinstance(answer, StoreError) else len(answer.deliveries)
            limit -= count
            counts[name] += count
            if isinstance(answer, StoreError) or count < shares[name]:
                del counts[name]
    return share_out(limit, counts, demand)


def share_out(left: int, counts: Mapping[str, int], most: Mapping[str, int]) -> dict[str, int]:
    """Return how many more jobs to request from each queue, `left` in all: one from each in turn, lowest count first.

    counts: the jobs of each queue so far, in the order of their turns; most: the most jobs of each queue. A queue
    without a share is left out. Costs O(q^2) for q queues, independent of the number of jobs.
    """
    level = dict(counts)
    while left > 0:
        unfilled = [name for name, count in level.items() if count < most[name]]
        if not unfilled:
            break
        lowest = min(level[name] for name in unfilled)
        low = [name for name in unfilled if level[name] == lowest][:left]
        # All of them rise together, until one is full, they reach the next level, or no whole turn is left.
        bounds = [most[name] for name in low] + [level[name] for name in unfilled if level[name] > lowest]
        step = max(1, min(left // len(low), min(bounds) - lowest))
        for name in low:
            level[name] += step
        left -= step * len(low)
    return {name: count - counts[name] for name, count in level.items() if count > counts[name]}


def merged(order: Sequence[str], rounds: Sequence[ClaimRound], last: str) -> ClaimReply:
    """Return the jobs of all queues, one of each in turn; raise the first error if every queue failed.

    `soon` is used only without jobs: it is None beside deliveries, which end the claim.
    """
    by_queue: dict[str, list[Delivery]] = {name: [] for name in order}
    errors: list[StoreError] = []
    soon: list[float] = []
    for _, answers in rounds:
        for name, answer in answers.items():
            if isinstance(answer, StoreError):
                errors.append(answer)
            else:
                by_queue[name] += answer.deliveries
                if answer.soon is not None:
                    soon.append(answer.soon)
    turns = max(map(len, by_queue.values()), default=0)
    deliveries = [some[turn] for turn in range(turns) for some in by_queue.values() if turn < len(some)]
    if deliveries:
        return ClaimReply(deliveries, deliveries[-1].message.queue, None)
    if errors and len(errors) == len(by_queue):
        raise errors[0]
    return ClaimReply([], last, min(soon, default=None))
