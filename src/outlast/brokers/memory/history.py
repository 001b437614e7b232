"""Samples, journal and costs in the memory store, by the same rules as in the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from msgspec import structs

from outlast.core.history import (
    COST_DAYS,
    MOST_COSTS,
    MOST_ENTRIES,
    OTHER,
    SORTS,
    STEPS,
    Cost,
    Entry,
    QueueSample,
    Sort,
    Step,
    day_of,
    slot_of,
)

__all__ = ["MemoryHistory"]


class MemoryHistory:
    """All of it by slot, sort and day. Callers hold the store's lock."""

    def __init__(self) -> None:
        self._samples: dict[Step, dict[int, dict[str, QueueSample]]] = {step: {} for step in STEPS}
        self._entries: dict[Sort, deque[Entry]] = {sort: deque(maxlen=MOST_ENTRIES[sort]) for sort in SORTS}
        self._costs: dict[int, dict[tuple[str, str], Cost]] = {}
        self._added: dict[int, dict[str, int]] = {}
        """By day, the last number of each source."""

    def keep_samples(self, samples: Mapping[str, QueueSample], now: float) -> int:
        """Keep the samples whose slots are empty."""
        kept = 0
        for step, slots in self._samples.items():
            slot = slot_of(now, step)
            for other in [each for each in slots if not slot - step.most < each <= slot]:
                del slots[other]
            present = slots.setdefault(slot, {})
            for queue in samples.keys() - present.keys():
                present[queue] = structs.replace(samples[queue], at=float(slot * step.seconds))
                kept += 1
        return kept

    def samples(self, step: Step, queues: Sequence[str], now: float) -> dict[str, list[QueueSample]]:
        """Return the samples by queue."""
        slot = slot_of(now, step)
        found: dict[str, list[QueueSample]] = {}
        for number, present in sorted(self._samples[step].items()):
            for queue, sample in present.items():
                if slot - step.most < number <= slot and (not queues or queue in queues):
                    found.setdefault(queue, []).append(sample)
        return found

    def add_entries(self, entries: Sequence[Entry], now: float) -> None:
        """Add the entries."""
        for each in entries:
            self._entries[each.sort].append(structs.replace(each, at=now))

    def journal(self, sort: Sort, limit: int) -> list[Entry]:
        """Return the newest entries."""
        return list(self._entries[sort])[::-1][:limit]

    def add_costs(self, source: str, number: int, costs: Sequence[Cost], now: float) -> bool:
        """Add the costs unless they were added."""
        day = day_of(now)
        for days, kept in ((self._added, 2), (self._costs, COST_DAYS)):
            for old in [each for each in days if not day - kept < each <= day]:
                del days[old]
        if any(numbers.get(source, -1) >= number for numbers in self._added.values()):
            return False
        self._added.setdefault(day, {})[source] = number
        rows = self._costs.setdefault(day, {})
        for each in costs:
            key = (each.kind, each.tenant)
            if key not in rows and len(rows) >= MOST_COSTS:
                key = (each.kind, OTHER)
            rows[key] = rows.get(key, Cost(kind=key[0], tenant=key[1], day=day)) + each
        return True

    def forget_tenant(self, tenant: str) -> None:
        """Add the costs of a tenant to `other` of their kinds."""
        for rows in self._costs.values():
            for key in [each for each in rows if each[1] == tenant != OTHER]:
                gone = rows.pop(key)
                kept = rows.get((key[0], OTHER), Cost(kind=key[0], tenant=OTHER, day=gone.day))
                rows[key[0], OTHER] = kept + gone

    def costs(self, days: int, now: float) -> list[Cost]:
        """Return the rows of the last days."""
        today = day_of(now)
        return [
            rows[key]
            for day, rows in sorted(self._costs.items())
            if today - min(days, COST_DAYS) < day <= today
            for key in sorted(rows)
        ]
