"""Delays of jobs: one queue for each of a few lengths, which hands each message back to its own queue when it is over.

A message makes one hop. A queue with one length for all its messages never holds one back behind a longer one, as
lengths that the messages carry would.
"""

from __future__ import annotations

from bisect import bisect_right
from random import Random
from typing import Final

__all__ = ["BUCKETS", "DELAYS", "bucket_of"]

BUCKETS: Final[dict[float, str]] = {
    1.0: "outlast.delay.1s",
    2.0: "outlast.delay.2s",
    4.0: "outlast.delay.4s",
    8.0: "outlast.delay.8s",
    15.0: "outlast.delay.15s",
    30.0: "outlast.delay.30s",
    60.0: "outlast.delay.1m",
    120.0: "outlast.delay.2m",
    300.0: "outlast.delay.5m",
    600.0: "outlast.delay.10m",
    1800.0: "outlast.delay.30m",
    3600.0: "outlast.delay.1h",
    7200.0: "outlast.delay.2h",
    14400.0: "outlast.delay.4h",
}
"""By seconds, the name of the queue, and of the exchange that leads to it."""
DELAYS: Final = tuple(BUCKETS)
_SAME: Final = 0.001
"""Seconds by which a delay may differ from a length and be meant as it: both are differences of times of day."""


def bucket_of(delay: float, rng: Random) -> float:
    """Return the length of the bucket for a delay, in seconds; 0 for none: the job goes to its queue at once.

    Of the two nearest lengths one is drawn so that the mean of many equal delays is the delay. A delay beyond the
    longest gets the longest.
    """
    place = bisect_right(DELAYS, delay)
    below = DELAYS[place - 1] if place else 0.0
    if place == len(DELAYS) or delay - below <= _SAME:
        return below
    above = DELAYS[place]
    if above - delay <= _SAME:
        return above
    return above if rng.random() * (above - below) < delay - below else below
