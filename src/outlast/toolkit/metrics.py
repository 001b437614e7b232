"""What the pieces of the toolkit count, with the answers that they give while their store is away."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from weakref import WeakSet

from outlast.meters import meters
from outlast.meters.meters import Counter, CountSeries

__all__ = [
    "BOARD_CALLS",
    "CacheReads",
    "DEGRADED",
    "IDEMPOTENCY_KEYS",
    "LIMITER_DECISIONS",
    "LOCK_ACQUISITIONS",
    "LOCK_LOSSES",
    "OBJECT_CALLS",
    "SESSION_OPERATIONS",
    "degraded",
    "series_of",
]

CACHE_READS: Final = meters.counter(
    "outlast_cache_reads_total",
    "Reads through the cache. cache: the function or route that reads, or the method of the cache. hit: a fresh value "
    "of the store; near: of the copy in the process; stale: an old value; miss: the value was computed; joined: "
    "another caller computed it; away: the store did not answer.",
    ("cache", "result"),
)
LIMITER_DECISIONS: Final = meters.counter(
    "outlast_limiter_decisions_total", "Decisions of limiters: allowed, refused.", ("limiter", "result")
)
LOCK_ACQUISITIONS: Final = meters.counter(
    "outlast_lock_acquisitions_total",
    "Ends of waits for locks, semaphores and leaderships: acquired; timeout: others had it until the end of the wait; "
    "away: the store did not answer; cancelled.",
    ("result",),
)
LOCK_LOSSES: Final = meters.counter("outlast_lock_losses_total", "Locks that were lost while a block held them.", ())
SESSION_OPERATIONS: Final = meters.counter(
    "outlast_session_operations_total",
    "Calls of sessions to their store. operation: open, save, end, flash, list, revoke. ok; none: there is no such "
    "session; conflict, ended, full: nothing was saved; away: the store did not answer.",
    ("operation", "result"),
)
IDEMPOTENCY_KEYS: Final = meters.counter(
    "outlast_idempotency_keys_total",
    "Requests with an Idempotency-Key. begun: it runs; answered: it got the stored answer; in-flight, other-payload: "
    "it was refused; away: the store did not answer.",
    ("result",),
)
BOARD_CALLS: Final = meters.counter(
    "outlast_board_calls_total",
    "Calls of leaderboards and unique counts. ok; full, beyond: nothing was changed; away: the store did not answer.",
    ("operation", "result"),
)
OBJECT_CALLS: Final = meters.counter(
    "outlast_object_calls_total",
    "Calls to the place of objects, those of large arguments and results too. ok; failed: an error of this call; away: "
    "it did not answer.",
    ("operation", "result"),
)
DEGRADED: Final = meters.counter(
    "outlast_toolkit_degraded_total",
    "Calls that a piece answered without its store. side: what it did instead. raised: nothing, its caller got "
    "ToolkitAway.",
    ("piece", "side"),
)


def series_of(counter: Counter, *labels: str, results: tuple[str, ...]) -> Mapping[str, CountSeries]:
    """Return the series of each result, which exist from now on. labels: those before the result."""
    return {result: counter.of(*labels, result) for result in results}


def degraded(piece: str, *sides: str) -> Mapping[str, CountSeries]:
    """Return the series of the sides of a piece, which exist from now on."""
    return series_of(DEGRADED, piece, results=sides)


class CacheReads:
    """The reads of one reader of the cache: a cached function, a route, a method.

    copies: reads of copies in the process that are not counted yet. They take 2 us, of which a count in the memory of
    the metrics would be 5%: it is made before each reading of these, and a kill loses those since the last one.
    """

    __slots__ = ("__weakref__", "_near", "away", "copies", "hit", "joined", "miss", "stale")

    def __init__(self, reader: str) -> None:
        self.hit, self._near, self.stale, self.miss, self.joined, self.away = (
            CACHE_READS.of(reader, result) for result in ("hit", "near", "stale", "miss", "joined", "away")
        )
        self.copies = 0
        _readers.add(self)

    def settle(self) -> None:
        """Count the reads of copies."""
        number = self.copies
        self._near.add(number)
        self.copies -= number


_readers: Final[WeakSet[CacheReads]] = WeakSet()


def _settle() -> None:
    with suppress(RuntimeError):  # another thread declares a reader meanwhile: the next reading has them all
        for each in _readers:
            each.settle()


def _forget() -> None:
    """Begin at 0 in a forked process: what its parent has counted is its parent's."""
    for each in _readers:
        each.copies = 0


meters.before_reading(_settle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
