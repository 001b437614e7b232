"""What a worker can do for each queue, as it tells the store: slots, the mean seconds of a run; the permits in use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from msgspec import structs

from outlast.core.forecast import SAMPLE_EVERY, Offer
from outlast.core.guards.needs import DeclaredGuard
from outlast.core.guards.permits import PermitsInUse
from outlast.core.message import Holder

__all__ = ["QueueLoads"]

_WEIGHT: Final = 0.02
"""The least weight of one run in the mean: jobs of two lengths in one queue must not move it with each."""
_FIRST: Final = 1 / _WEIGHT
"""So many runs weigh alike."""
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
        value = self._before = self.value
        runs = self._runs = self._runs + 1
        self.value = value + (seconds - value) * (
            _WEIGHT if runs > _FIRST else 1 / runs
        )  # for each run: no call of max

    def take_back(self) -> None:
        """Forget the last run that was added, if it has not been forgotten yet."""
        if self._before is not None:
            self.value, self._before = self._before, None
            self._runs -= 1


class QueueLoads:
    """Measures the runs of each queue, and makes the `Holder` of the next claim.

    Before the first run of a queue has ended, twice the age of its oldest run counts as the mean: a run that is seen at
    a random time lasts on average as long again. guards: of the app. The permits of their bulkheads that are in use are
    told with one queue; callers that begin to wait for one, or no longer do, are news.
    """

    def __init__(self, slots: Mapping[str, int], guards: Collection[DeclaredGuard] = ()) -> None:
        self._slots = slots
        self._guards = guards
        self._with_permits = next(iter(slots), "")
        self._means = {queue: _Mean() for queue in slots}
        self._ended = 0
        self._told_ended = -1
        self._told_at = 0.0
        self._told_shut: set[str] = set()
        self._told_waiting: set[str] = set()

    def claims_from(self, queues: Sequence[str]) -> None:
        """Tell the permits with one of these queues: a store knows nothing of a queue that is not claimed from."""
        self._with_permits = next((each for each in queues if each in self._slots), "")

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
        permits = self._permits(holder.label)
        waiting = {each.guard for each in permits if each.waiting}
        later = self._ended != self._told_ended or waiting != self._told_waiting
        if not (first or ages or (later and elapsed >= SAMPLE_EVERY)):
            return holder
        self._told_at, self._told_ended, self._told_shut, self._told_waiting = now, self._ended, set(shut), waiting
        loads = {
            queue: Offer(
                0 if queue in shut else self._slots[queue],
                float(f"{mean.value or 2 * ages.get(queue, 0.0):.3g}"),
                permits if queue == self._with_permits else (),
            )
            for queue, mean in self._means.items()
        }
        return structs.replace(holder, loads=loads)

    def _permits(self, process: str) -> tuple[PermitsInUse, ...]:
        found = (guard.permits_in_use(process) for guard in self._guards)
        return tuple(each for each in found if each is not None and (each.used or each.waiting))
