"""The shared state of guards in the memory store: no other process shares it, but the rules are the same."""

from __future__ import annotations

from outlast.core.guards.record import GuardRecord, GuardsView, rebased

__all__ = ["MemoryGuards"]


class MemoryGuards:
    """The records by name. Callers hold the store's lock."""

    def __init__(self) -> None:
        self.changes = 0
        """The number of records that were stored."""
        self._records: dict[str, GuardRecord] = {}

    def view(self, now: float) -> GuardsView:
        """Return all records by name."""
        return GuardsView(now, "", tuple(rebased(self._records[name], "", now) for name in sorted(self._records)))

    def swap(self, record: GuardRecord) -> bool:
        """Store a record if it follows on the stored revision."""
        stored = self._records.get(record.name)
        if record.revision != (0 if stored is None else stored.revision) + 1:
            return False
        self._records[record.name] = record
        self.changes += 1
        return True
