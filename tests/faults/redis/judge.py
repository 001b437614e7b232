"""The judge of the Redis survival proof: from what was done and what the ledger says, to all that is wrong."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, inf
from typing import Final

from tests.support.ledger import Entry

__all__ = ["STALL", "Accepted", "Evidence", "Kill", "Orders", "Outage", "Verdict", "judge"]

STALL: Final = 5.0
"""Seconds without a start, while jobs are ready, the server is up and a worker lives, that are counted as a stall."""
SETTLED: Final = 2.0
"""Seconds of a server that is up after which the end of a run has reached it, and no kill can undo it."""
WINDOW: Final = 2.0
"""Seconds of writes that `everysec` may lose when the server is killed: it answers while an fsync holds the file up."""
CLAIMED: Final = 1.0
"""Seconds that a job may lie in a worker between its claim and its start."""
SLOP: Final = 0.1
"""Seconds between noting a kill and its taking effect."""

Span = tuple[float, float]


@dataclass(frozen=True)
class Orders:
    """What is done. kills: of one worker each; restarts: kill -9 of Redis, back within 2 s. gap: seconds, about."""

    jobs: int
    kills: int
    restarts: int
    fsync: str = "always"
    seed: int = 1
    gap: float = 1.8


@dataclass(frozen=True)
class Kill:
    """A worker was killed at `at`, and with it all its children and theirs."""

    pids: frozenset[int]
    at: float


@dataclass(frozen=True)
class Outage:
    """Redis was killed at `down`, and answered again at `back`."""

    down: float
    back: float


@dataclass(frozen=True)
class Accepted:
    """The enqueue that was answered: when it was asked, and when answered."""

    asked: float
    answered: float


@dataclass(frozen=True)
class Evidence:
    """All that is known at the end. entries: `start` and `end` by job; `above` names a process's parent and hers.

    unmanned: while no worker process lived. ended: when the run was over, with `left` jobs unfinished and `dead`.
    """

    orders: Orders
    entries: Sequence[Entry]
    accepted: dict[str, Accepted]
    ended: float
    kills: Sequence[Kill] = ()
    outages: Sequence[Outage] = ()
    unmanned: Sequence[Span] = ()
    repeated: int = 0
    left: int = 0
    dead: int = 0


@dataclass
class Verdict:
    """What came of it. Times are figures to print: only what the ledger says can be wrong, on any machine."""

    orders: Orders
    accepted: int = 0
    repeated: int = 0
    """Enqueues that were repeated, with the same ids, until they were answered."""
    kills: int = 0
    hits: int = 0
    """Kills that caught a job in mid run."""
    restarts: int = 0
    lost: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    """Lost, but accepted within the seconds that `everysec` says it may lose."""
    dead: int = 0
    left: int = 0
    second_starts: Counter[str] = field(default_factory=Counter)
    """By what explains them."""
    unattributed: list[str] = field(default_factory=list)
    stalls: list[Span] = field(default_factory=list)
    longest: float = 0.0
    """Seconds without a start that came nearest to a stall, or were the worst."""
    again: list[float] = field(default_factory=list)
    """Seconds from each return of Redis to the next start of a job that was accepted since."""
    rerun: list[float] = field(default_factory=list)
    """Seconds from a kill to the next start of each job that it caught."""

    @property
    def wrong(self) -> list[str]:
        """Name what is wrong; nothing, when it holds."""
        orders = self.orders
        checks = {
            "not all was done": (self.accepted, self.kills, self.restarts)
            != (orders.jobs, orders.kills, orders.restarts),
            "kills that caught nothing": self.hits < 0.9 * self.kills,
            "lost": self.lost,
            "dead": self.dead,
            "left": self.left,
            "unattributed second starts": self.unattributed,
            "no start after Redis was back": len(self.again) != self.restarts,
        }
        return [name for name, found in checks.items() if found]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    def __str__(self) -> str:
        why = ", ".join(f"{number:,} by {reason}" for reason, number in sorted(self.second_starts.items())) or "none"
        return (
            f"{self.orders.fsync}: {self.accepted:,} jobs accepted ({self.repeated} enqueues repeated), "
            f"{self.kills} kills ({self.hits} in mid run), {self.restarts} restarts: {len(self.lost)} lost "
            f"({len(self.allowed)} within what the level allows), {self.dead} dead, {self.left} left; "
            f"second starts: {why}, {len(self.unattributed)} unattributed; {len(self.stalls)} stalls (longest wait "
            f"{self.longest:.2f} s); at work again {_spread(self.again)} after Redis was back; "
            f"caught jobs again {_spread(self.rerun)} after the kill: {'; '.join(self.wrong) or 'holds'}"
        )


@dataclass(frozen=True)
class Run:
    """One start of a job. settled: the latest moment at which its end may not yet have reached the server."""

    start: Entry
    family: frozenset[int]
    end: float | None
    settled: float


def judge(evidence: Evidence) -> Verdict:
    """Say all that is wrong."""
    verdict = Verdict(
        orders=evidence.orders,
        accepted=len(evidence.accepted),
        repeated=evidence.repeated,
        kills=len(evidence.kills),
        restarts=len(evidence.outages),
        left=evidence.left,
        dead=evidence.dead,
    )
    runs = _runs(evidence)
    ended = {name for name, all_ in runs.items() if any(each.end is not None for each in all_)}
    for name in sorted(evidence.accepted.keys() - ended):
        asked = evidence.accepted[name]
        (verdict.allowed if _may_lose(evidence, asked.asked, asked.answered) else verdict.lost).append(name)
    ready = [
        (at.answered, runs[name][0].start.at if name in runs else evidence.ended)
        for name, at in evidence.accepted.items()
        if name not in verdict.allowed
    ]
    caught: set[Kill] = set()
    for name, all_ in runs.items():
        for before, after in pairwise(all_):
            if reason := _reason(evidence, before, after.start):
                verdict.second_starts[reason] += 1
            else:
                verdict.unattributed.append(f"{name}: {before.start} and then {after.start}")
        for run, following in zip(all_, [*all_[1:], None], strict=True):
            kill = _killed(evidence, run) if run.end is None else None
            if kill is None:
                continue
            caught.add(kill)
            if following is not None:
                verdict.rerun.append(following.start.at - kill.at)
            if following is not None or name not in verdict.allowed:
                ready.append((kill.at, following.start.at if following is not None else evidence.ended))
    verdict.hits = len(caught)
    starts = sorted(run.start.at for all_ in runs.values() for run in all_)
    closed = [(each.down, each.back) for each in evidence.outages]
    for span in _without(_union(ready), _union([*closed, *evidence.unmanned])):
        for quiet in _between(span, starts):
            verdict.longest = max(verdict.longest, quiet[1] - quiet[0])
            if quiet[1] - quiet[0] > STALL:
                verdict.stalls.append(quiet)
    fresh = sorted(
        (run.start.at, at.answered) for name, at in evidence.accepted.items() for run in runs.get(name, [])[:1]
    )
    for outage in evidence.outages:
        next_one = next((start for start, answered in fresh if answered >= outage.back), None)
        if next_one is not None:
            verdict.again.append(next_one - outage.back)
    return verdict


def percentile(values: Sequence[float], part: float) -> float:
    """Return the nearest-rank percentile, 0 of nothing."""
    return sorted(values)[max(ceil(part * len(values)), 1) - 1] if values else 0.0


def _spread(values: Sequence[float]) -> str:
    return (
        f"{percentile(values, 0.5):.2f} s (median; p99 {percentile(values, 0.99):.2f} s, "
        f"most {max(values, default=0.0):.2f} s, of {len(values):,})"
    )


def _runs(evidence: Evidence) -> dict[str, list[Run]]:
    """Return each job's runs, in the order of their starts."""
    above: dict[int, list[int]] = {}
    ends: dict[tuple[str, int], list[float]] = {}
    for entry in evidence.entries:
        if entry.word == "above":
            above.setdefault(entry.pid, []).extend(map(int, entry.name.split(",")))
        elif entry.word == "end":
            ends.setdefault((entry.name, entry.pid), []).append(entry.at)
    runs: dict[str, list[Run]] = {}
    for entry in sorted((each for each in evidence.entries if each.word == "start"), key=lambda each: each.at):
        mine = ends.get((entry.name, entry.pid), [])
        end = mine.pop(0) if mine and mine[0] >= entry.at else None
        family = frozenset((entry.pid, *above.get(entry.pid, ())))
        settled = inf if end is None else _settled(end, evidence.outages)
        runs.setdefault(entry.name, []).append(Run(entry, family, end, settled))
    return runs


def _settled(end: float, outages: Iterable[Outage]) -> float:
    """Return until when the end may be on its way: an outage holds it up."""
    until = end + SETTLED
    for outage in sorted(outages, key=lambda each: each.down):
        if outage.down <= until and outage.back >= end:
            until = outage.back + SETTLED
    return until


def _killed(evidence: Evidence, run: Run) -> Kill | None:
    """Return the kill that ended its process before its end was known."""
    for kill in evidence.kills:
        if run.start.at - SLOP <= kill.at <= run.settled and kill.pids & run.family:
            return kill
    return None


def _may_lose(evidence: Evidence, first: float, last: float, *, before: float = inf) -> bool:
    """Tell whether a kill of the server, no later than `before`, may have lost what it wrote between the first two."""
    return evidence.orders.fsync == "everysec" and any(
        first <= outage.down <= before and last >= outage.down - WINDOW for outage in evidence.outages
    )


def _reason(evidence: Evidence, run: Run, after: Entry) -> str:
    """Say why it could start once more at `after`, "" when nothing explains it."""
    kill = _killed(evidence, run)
    if kill is not None and kill.at <= after.at:
        return "a kill"
    claim = _may_lose(evidence, run.start.at - CLAIMED, run.start.at, before=after.at)
    end = run.end is not None and _may_lose(evidence, run.end, run.settled, before=after.at)
    return "a restart" if claim or end else ""


def _union(spans: Iterable[Span]) -> list[Span]:
    """Return the same times, in order and apart."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        elif last > first:
            merged.append((first, last))
    return merged


def _without(spans: Iterable[Span], holes: Sequence[Span]) -> list[Span]:
    """Return what of the spans is in no hole."""
    rest: list[Span] = []
    for first, last in spans:
        at = first
        for down, back in holes:
            if back > at and down < last:
                if down > at:
                    rest.append((at, down))
                at = back
        if at < last:
            rest.append((at, last))
    return rest


def _between(span: Span, starts: Sequence[float]) -> list[Span]:
    """Return the times without a start within the span."""
    inside = starts[bisect_left(starts, span[0]) : bisect_right(starts, span[1])]
    return list(pairwise([span[0], *inside, span[1]]))
