"""What a worker can do for each of its queues, as it tells the store: slots, and the mean seconds of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from msgspec import structs

from outlast.core.forecast import SAMPLE_EVERY, Offer
from outlast.core.message import Holder

__all__ = ["QueueLoads"]

_WEIGHT: Final = 0.02
"""The least weight of one run in the mean: jobs of two lengths in one queue must not move it with each."""
_UNKNOWN_EVERY: Final = 1.0
"""Seconds after which a first run that has not ended is told again, by its age."""


class _Mean:
    """The mean of the first runs, which then follows the last ones."""

    __slots__ = ("_before", "_runs", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._before: float | None = None
        self._runs = 0

    def add(self, seconds: float) -> None:
        self._before = self.value
        self._runs += 1
        self.value += (seconds - self.value) * max(_WEIGHT, 1 / self._runs)

    def take_back(self) -> None:
        """Forget the last run that was added, if it has not been forgotten yet."""
        if self._before is not None:
            self.value, self._before = self._before, None
            self._runs -= 1


class QueueLoads:
    """Measures the runs of each queue, and makes the `Holder` of the next claim.

    Before the first run of a queue has ended, twice the age of its oldest run counts as the mean: a run that is seen at
    a random time lasts on average as long again.
    """

    def __init__(self, slots: Mapping[str, int]) -> None:
        self._slots = slots
        self._means = {queue: _Mean() for queue in slots}
        self._ended = 0
        self._told_ended = -1
        self._told_at = 0.0
        self._told_shut: set[str] = set()

    def ended(self, queue: str, seconds: float) -> None:
        """Count a run that has freed its slot."""
        mean = self._means.get(queue)
        if mean is not None:
            mean.add(seconds)
            self._ended += 1

    def put_off(self, queue: str) -> None:
        """Take the last run of the queue back, which a guard has refused: its time says nothing of those that run."""
        mean = self._means.get(queue)
        if mean is not None:
            mean.take_back()

    def holder(
        self, holder: Holder, now: float, running: Iterable[tuple[str, float]], shut: Collection[str] = ()
    ) -> Holder:
        """Return the holder with its loads: the same object while there is no news. now: monotonic seconds.

        running: queue and start of each run, read only while a mean is unknown. shut: queues that it gives no slot now.
        """
        first = holder.loads is None or set(shut) != self._told_shut
        elapsed = now - self._told_at
        if not first and elapsed < _UNKNOWN_EVERY:
            return holder
        unknown = {queue for queue, mean in self._means.items() if not mean.value}
        ages: dict[str, float] = {}
        if unknown:
            for queue, started in running:
                if started and queue in unknown:
                    ages[queue] = max(ages.get(queue, 0.0), now - started)
        news = first or bool(ages) or (self._ended != self._told_ended and elapsed >= SAMPLE_EVERY)
        if not news:
            return holder
        self._told_at, self._told_ended, self._told_shut = now, self._ended, set(shut)
        loads = {
            queue: Offer(
                0 if queue in shut else self._slots[queue], float(f"{mean.value or 2 * ages.get(queue, 0.0):.3g}")
            )
            for queue, mean in self._means.items()
        }
        return structs.replace(holder, loads=loads)
