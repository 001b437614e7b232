"""Schedules of the memory store, by the rules of core.ticking."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from outlast.core.message import Message
from outlast.core.schedule import Amendment, ScheduleAdvance, ScheduleEntry, ScheduleRecord
from outlast.core.settlement import Published
from outlast.core.store.control import Answer
from outlast.core.ticking import advanced, amended, check_sizes, enlisted

__all__ = ["MemorySchedules"]


class MemorySchedules:
    """The records by name. Callers hold the store's lock."""

    def __init__(self, publish: Callable[[Sequence[Message]], list[Published]], max_body: int) -> None:
        self.changes = 0
        """The number of calls of `amend`."""
        self._publish = publish
        self._max_body = max_body
        self._records: dict[str, ScheduleRecord] = {}

    def all(self) -> list[ScheduleRecord]:
        """Return all records by name."""
        return [self._records[name] for name in sorted(self._records)]

    def enlist(self, entries: Sequence[ScheduleEntry], now: float) -> list[ScheduleRecord]:
        """Declare schedules; raise ConfigurationError before any record changes."""
        records = [enlisted(self._records.get(entry.name), entry, now) for entry in entries]
        self._records.update((record.name, record) for record in records)
        return records

    def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        """Make the moves whose record still has the expected revision."""
        check_sizes(moves, self._max_body)
        return [self._advance(move) for move in moves]

    def _advance(self, move: ScheduleAdvance) -> bool:
        record = self._records.get(move.name)
        if record is None or record.revision != move.expect:
            return False
        self._records[move.name] = advanced(record, move, self._publish(move.messages))
        return True

    def amend(self, changes: Sequence[Amendment], now: float) -> list[Answer]:
        """Apply the changes in order."""
        self.changes += 1
        return [self._amend(change, now) for change in changes]

    def _amend(self, change: Amendment, now: float) -> Answer:
        record, answer = amended(self._records.get(change.name), change, now)
        if record is not None:
            self._records[change.name] = record
        elif answer.ok:
            del self._records[change.name]
        return answer
