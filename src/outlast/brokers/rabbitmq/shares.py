"""How the slots of one worker are shared between its queues, as the prefetch of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

__all__ = ["RESHARE", "shares_of"]

RESHARE: Final = 5.0
"""Seconds between two changes of the shares: each makes the worker consume its queues again."""


def shares_of(slots: int, most: Mapping[str, int], busy: Collection[str]) -> dict[str, int]:
    """Return the prefetch of each queue of `most`, in all at most `slots`, but 1 or more each.

    most: the jobs that may be held of each queue. busy: queues that have had as many jobs as they were given; the
    others get 1, so that they are not without a consumer. While none is busy, all are treated alike.
    """
    wanted = {queue: most[queue] for queue in most if queue in busy} or dict(most)
    shares = dict.fromkeys(most, 1)
    left = slots - len(most)
    # The smallest first: what it does not need goes to the larger ones.
    for done, queue in enumerate(sorted(wanted, key=lambda name: (wanted[name], name))):
        more = min(max(0, wanted[queue] - 1), max(0, left) // (len(wanted) - done))
        shares[queue] += more
        left -= more
    return shares
