"""Which waiters of this process stand in front of the others: only these ask the store when a turn may be free."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort

__all__ = ["Lines"]


class Lines:
    """The tickets of this process, by key. Used in any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._tickets: dict[str, list[int]] = {}

    def move(self, key: str, old: int, new: int) -> None:
        """Put a ticket in place of another; 0 is none."""
        if old == new:
            return
        with self._lock:
            tickets = self._tickets.setdefault(key, [])
            if old:
                at = bisect_left(tickets, old)
                if tickets[at : at + 1] == [old]:
                    del tickets[at]
            if new:
                insort(tickets, new)
            if not tickets:
                del self._tickets[key]

    def before(self, key: str, ticket: int) -> int:
        """Return how many of this process stand before a ticket."""
        with self._lock:
            return bisect_left(self._tickets.get(key, ()), ticket)
