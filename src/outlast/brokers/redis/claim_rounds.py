"""A claim over several queues, as rounds of requests: which queue is asked for how many next, and what they add up to.

Pure functions, that give together what core.select would have picked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from outlast.brokers.redis.claim import ClaimReply
from outlast.brokers.redis.fair_shares import share_out
from outlast.core.errors import StoreError
from outlast.core.message import Delivery

__all__ = ["ClaimRound", "claim_order", "merged", "next_shares"]


class ClaimRound(NamedTuple):
    """What was asked of each queue at the same time, and what each answered."""

    shares: Mapping[str, int]
    answers: Mapping[str, ClaimReply | StoreError]


def claim_order(demand: Mapping[str, int], last: str) -> list[str]:
    """Return the queues with a demand in the order of their turns, which begins after the queue `last`."""
    names = sorted(name for name, most in demand.items() if most > 0)
    behind = sum(name <= last for name in names)
    return [*names[behind:], *names[:behind]]


def next_shares(
    order: Sequence[str], rounds: Sequence[ClaimRound], demand: Mapping[str, int], limit: int
) -> dict[str, int]:
    """Return how many jobs to ask of each queue next; {} when the claim is over.

    A queue that gave fewer than it was asked for, or failed, is not asked again: what it left goes to the others. So
    there are at most as many rounds as queues.
    """
    given = dict.fromkeys(order, 0)
    for shares, answers in rounds:
        for name, answer in answers.items():
            count = 0 if isinstance(answer, StoreError) else len(answer.deliveries)
            limit -= count
            given[name] += count
            if isinstance(answer, StoreError) or count < shares[name]:
                del given[name]
    return share_out(limit, given, demand)


def merged(order: Sequence[str], rounds: Sequence[ClaimRound], last: str) -> ClaimReply:
    """Return what the queues gave together, one of each in turn; raise the first error when every queue failed.

    `soon` matters only where nothing was given: it is None beside deliveries, which end the claim.
    """
    found: dict[str, list[Delivery]] = {name: [] for name in order}
    errors: list[StoreError] = []
    soon: list[float] = []
    for _, answers in rounds:
        for name, answer in answers.items():
            if isinstance(answer, StoreError):
                errors.append(answer)
            else:
                found[name] += answer.deliveries
                if answer.soon is not None:
                    soon.append(answer.soon)
    turns = max(map(len, found.values()), default=0)
    deliveries = [some[turn] for turn in range(turns) for some in found.values() if turn < len(some)]
    if deliveries:
        return ClaimReply(deliveries, deliveries[-1].message.queue, None)
    if errors and len(errors) == len(found):
        raise errors[0]
    return ClaimReply([], last, min(soon, default=None))
