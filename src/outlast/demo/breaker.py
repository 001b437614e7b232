"""The breaker of the payment provider as the store knows it, for the page and the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from outlast.core.guards.record import GuardRecord, GuardsView, state_of
from outlast.core.guards.waits import waits_for

__all__ = ["BreakerSeen", "BreakerWatch", "Change"]

Change = tuple[Literal["info", "down", "up"], str]
"""An incident to show: its kind and its text."""


class BreakerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The breaker now. text: such as "open for 4.2 s, next probe in 0.8 s". waiting: payments in the store.

    empty: when none waits any more by the forecast of the queue, such as "in 3 s"; "" while that is unknown.
    """

    state: Literal["closed", "open", "half-open", "ramp"] = "closed"
    text: str = "closed"
    waiting: int = 0
    empty: str = ""

    @property
    def queue(self) -> str:
        """The waiting payments in words."""
        return f"{self.waiting} payments wait" + (f", empty {self.empty}" if self.empty else "")


class BreakerWatch:
    """Follows the shared state of one guard, from one look to the next.

    openings: seconds of the run at which it opened and closed again; the last is None while it is open. probes: when
    each was seen.
    """

    def __init__(self, guard: str) -> None:
        self.seen = BreakerSeen()
        self.openings: list[tuple[float, float | None]] = []
        self.probes: list[float] = []
        self._guard = guard
        self._before = GuardRecord(name=guard)
        self._opened_as = 0  # the generation of the opening: each probe adds two, its taking and its end

    def look(self, view: GuardsView, *, waiting: int, at: float, empty: str = "") -> Iterator[Change]:
        """Take the state at `at` seconds of the run; yield what has changed since the last look."""
        record, before = view.of(self._guard), self._before
        ramped = self.seen.state == "ramp"
        self._before, self.seen = record, self._described(record, view, waiting, empty)
        if record.open and not before.open:
            self._opened_as = before.generation + 1
            self.openings.append((at, None))
            yield "down", f"the breaker opens: {waiting} payments wait in their queue"
        if before.open or record.open:
            yield from self._probes_of(record, at)
        if before.open and not record.open:
            self.openings[-1] = (self.openings[-1][0], at)
            yield "up", "the probe succeeds: the breaker closes, and a tenth of the slots runs payments"
        elif ramped and self.seen.state == "closed":
            yield "up", "all slots run payments again"

    def _probes_of(self, record: GuardRecord, at: float) -> Iterator[Change]:
        taken = sum(opened <= probe for opened, _ in self.openings[-1:] for probe in self.probes)
        for number in range(taken + 1, (record.generation - self._opened_as + 1) // 2 + 1):
            self.probes.append(at)
            yield "info", f"probe {number}: one payment is sent to the provider"

    def _described(self, record: GuardRecord, view: GuardsView, waiting: int, empty: str) -> BreakerSeen:
        why = waits_for([self._guard], [record], view.now).partition(": ")[2]
        state = state_of(record, view.now)
        if state == "closed":
            return BreakerSeen(state="ramp" if why else "closed", text=why or "closed", waiting=waiting, empty=empty)
        return BreakerSeen(state=state, text=why, waiting=waiting, empty=empty)
