"""Reads and changes the shared states of guards for one process: its votes, its probes, and what it adopts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct, structs

from outlast.core.errors import StoreUncertain
from outlast.core.guards.answers import BreakerView, SharedBreaker
from outlast.core.guards.policies import Breaker
from outlast.core.guards.record import (
    ROUND,
    STALE_ROUND,
    GuardRecord,
    GuardRules,
    GuardsView,
    ProbeOutcome,
    Vote,
    answered,
    asked,
    probe_due,
    probe_ended,
    probe_renewed,
    tallied,
    took_probe,
    waiting_for,
)
from outlast.core.store.guards import Guards
from outlast.resilience.ports import ProbeAnswer, SharedGuard

__all__ = ["HeldProbe", "SharedStates", "rules_of", "vote_of"]

SHORTEST: Final = 0.01
"""The shortest pause, in seconds, before votes are counted again: a timer may be a little early."""


class HeldProbe(Struct, frozen=True):
    """A probe that this process has. generation: that of the record that gave it. until: local monotonic time."""

    holder: str
    generation: int
    until: float


class _Reading(Struct, frozen=True):
    """A view of the store, and the local monotonic times before and after its read."""

    view: GuardsView
    before: float
    after: float

    def soonest(self, at: float) -> float:
        """Return a time of the store as local time, at most a round trip too early."""
        return at - self.view.now + self.before

    def latest(self, at: float) -> float:
        """Return a time of the store as local time, at most a round trip too late."""
        return at - self.view.now + self.after


class _Followed(Struct, frozen=True):
    """A guard of this process."""

    guard: SharedGuard
    rules: GuardRules


class SharedStates:
    """The guards of this process in one open store. Used on one loop; raises StoreError when the store does.

    voter: names this process in votes and leases. clock: the monotonic clock of the guards.
    """

    def __init__(self, voter: str, clock: Callable[[], float]) -> None:
        self.voter: Final = voter
        self._clock = clock
        self._guards: dict[str, _Followed] = {}
        self._probes = 0

    def add(self, guard: SharedGuard, policy: Breaker) -> None:
        """Follow the state of this guard from the next read on."""
        self._guards[guard.name] = _Followed(guard, rules_of(policy))

    def names(self) -> list[str]:
        """Return the names of the guards that are followed."""
        return list(self._guards)

    def rules(self, name: str) -> GuardRules:
        """Return the rules of a guard that is followed."""
        return self._guards[name].rules

    async def refresh(self, store: Guards) -> None:
        """Read all states, adopt them, and vote in the rounds that wait for this process. Writes nothing else."""
        reading = await self._read(store)
        self._adopt(reading, reading.view.records)
        for record in reading.view.records:
            if record.name in self._guards and self._is_asked(record, reading.view.now):
                vote = vote_of(self.voter, self._guards[record.name].guard.view())
                if vote.open or vote.calls:
                    await self._change(store, record.name, _answer(vote))

    def _is_asked(self, record: GuardRecord, now: float) -> bool:
        asked_at = record.asked_at
        return asked_at is not None and now - asked_at < STALE_ROUND and waiting_for(record, self.voter)

    async def ask(self, store: Guards, name: str) -> None:
        """Ask all processes for their votes, and count them when the round is over. Does nothing if it is open."""
        followed = self._guards[name]
        vote = vote_of(self.voter, followed.guard.view())
        if not vote.open:  # it has closed again since: the round would be about nothing
            return
        record, reading = await self._change(store, name, lambda found, now: asked(found, vote, now, followed.rules))
        while record.asked_at is not None:
            left = reading.latest(record.asked_at + ROUND) - self._clock()
            await asyncio.sleep(max(SHORTEST, left))
            record, reading = await self._change(store, name, tallied)

    async def take(self, store: Guards, name: str, holder: str) -> tuple[ProbeAnswer, HeldProbe | None]:
        """Take the one probe for this process, if it is there to take. Without an opening of all, take it locally.

        holder: from `new_holder`. The state is adopted before this returns.
        """

        def step(found: GuardRecord, now: float) -> GuardRecord:
            if found.probe is not None and found.probe.holder == holder:
                return found  # the answer to an earlier try was lost
            return took_probe(found, holder, now) or found

        record, reading = await self._change(store, name, step)
        if record.probe is not None and record.probe.holder == holder:
            until = reading.soonest(record.probe.until)
            return ProbeAnswer(True, until), HeldProbe(holder, record.generation, until)
        if not record.open and not record.held:
            return ProbeAnswer(True, self._clock() + self.rules(name).lease), None
        due = probe_due(record)
        again = reading.view.now + record.rules.interval if due is None else due
        return ProbeAnswer(False, reading.latest(again)), None

    def new_holder(self) -> str:
        """Return a name for one taking of a probe, never used before."""
        self._probes += 1
        return f"{self.voter}.{self._probes}"

    async def renew(self, store: Guards, name: str, probe: HeldProbe) -> HeldProbe | None:
        """Give a probe of this process its whole lease again; None if it has ended, or is another's."""
        record, reading = await self._change(
            store, name, lambda found, now: probe_renewed(found, probe.holder, probe.generation, now)
        )
        lease = record.probe
        if lease is None or lease.holder != probe.holder or record.generation != probe.generation:
            return None
        return structs.replace(probe, until=reading.soonest(lease.until))

    async def end(self, store: Guards, name: str, probe: HeldProbe, outcome: ProbeOutcome) -> None:
        """Report the end of a probe; a report that comes too late changes nothing."""
        await self._change(
            store, name, lambda found, now: probe_ended(found, probe.holder, probe.generation, outcome, now)
        )

    async def give_back(self, store: Guards, name: str, holder: str) -> None:
        """Give back a probe that `holder` may have taken: the answer of the store came too late."""

        def step(found: GuardRecord, now: float) -> GuardRecord:
            return probe_ended(found, holder, found.generation, "neutral", now)

        await self._change(store, name, step)

    async def _read(self, store: Guards) -> _Reading:
        before = self._clock()
        view = await store.guards()
        return _Reading(view, before, self._clock())

    async def _change(
        self, store: Guards, name: str, step: Callable[[GuardRecord, float], GuardRecord]
    ) -> tuple[GuardRecord, _Reading]:
        """Apply `step` to the record as it is, again while other processes are first; adopt and return the result.

        Nothing is written if `step` returns the record that it was given. Of all processes one is always first, so
        each round of tries ends for one of them.
        """
        while True:
            reading = await self._read(store)
            found = reading.view.of(name)
            record = step(found, reading.view.now)
            if record is not found:
                try:
                    (stored,) = await store.swap([record])
                except StoreUncertain:
                    continue  # read whether it was stored; raises if the store is away
                if not stored:
                    continue
            self._adopt(reading, [record])
            return record, reading

    def _adopt(self, reading: _Reading, records: Iterable[GuardRecord]) -> None:
        for record in records:
            followed = self._guards.get(record.name)
            if followed is None or record.revision < 1:
                continue
            due = probe_due(record)
            followed.guard.adopt(
                SharedBreaker(
                    generation=record.generation,
                    open=record.open,
                    since=reading.latest(record.since),
                    probe_at=reading.latest(record.probe_at if due is None else due),
                    held=record.held,
                    closed_at=None if record.closed_at is None else reading.latest(record.closed_at),
                    reset_at=None if record.reset_at is None else reading.latest(record.reset_at),
                )
            )


def _answer(vote: Vote) -> Callable[[GuardRecord, float], GuardRecord]:
    return lambda found, now: answered(found, vote)


def vote_of(voter: str, view: BreakerView) -> Vote:
    """Return the vote of a process with this breaker."""
    return Vote(voter, view.state != "closed" and not view.held, view.calls, view.failures, view.slow)


def rules_of(policy: Breaker) -> GuardRules:
    """Return what the shared state needs of a policy."""
    thresholds = policy.thresholds
    return GuardRules(
        interval=policy.open_for,
        lease=policy.probe_lease,
        ramp=policy.ramp,
        minimum=policy.minimum,
        failure_rate=thresholds.failure_rate,
        slow_rate=thresholds.slow_rate,
        quorum=policy.quorum,
    )
