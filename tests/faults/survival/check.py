"""The checker: reads a ledger and says everything in it that the promise does not allow. `check.py LEDGER`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.faults.survival.history import Handout, History, Job, history_of
from tests.faults.survival.ledger import Line, read

__all__ = [
    "BLAME",
    "EARLY",
    "FENCE",
    "HEALTHY_DEAD",
    "JUDGE",
    "LOST",
    "OUTCOME",
    "PHANTOM",
    "SUPERSEDED",
    "UNEXPLAINED",
    "WRONGED",
    "Cause",
    "Fault",
    "cause_of",
    "faults",
    "faults_of",
]

LOST: Final = "lost"
"""An accepted job has not ended, or nothing is known of it, or it ended without its effect."""
PHANTOM: Final = "phantom"
"""A start, an effect or a record of a job that nobody enqueued, or of a follow-up of a run that did not count."""
HEALTHY_DEAD: Final = "healthy job dead"
OUTCOME: Final = "wrong outcome"
"""A job ended otherwise, or with another attempt, than was planned."""
UNEXPLAINED: Final = "unexplained second start"
"""A job was handed out again though its holder lived, and had not asked for it."""
EARLY: Final = "taken too early"
"""A job was taken from a machine before its lease had ended."""
FENCE: Final = "duplicate fence"
SUPERSEDED: Final = "superseded settlement accepted"
WRONGED: Final = "settlement wrongly refused"
BLAME: Final = "wrong blame"
"""A crash was counted that the job was not in, or one was not counted, or a job ran alone that need not, or not."""
JUDGE: Final = "cannot be judged"

_ENDS: Final = {"doomed": ("dead", "attempts"), "quitter": ("dead", "gave-up"), "poison": ("dead", "poison")}
_ATTEMPTS: Final = {"doomed": 2}
_SILENT: Final = frozenset(("steady", "doomed", "quitter", "poison"))
"""Kinds that return nothing, so that their record does not name the run that counted."""
_SOLO_AFTER: Final = 2
_ROUNDING: Final = 0.001
_TERMINAL: Final = frozenset(("succeeded", "dead", "cancelled", "expired"))

Cause = str
"""Why a job was handed out again: "retry", "worker", "own", "machine", "freeze", "given back", or "" for no reason."""


@dataclass(frozen=True, order=True)
class Fault:
    """Something that must not be: what, of which job, and what was seen."""

    what: str
    job: str
    seen: str

    def __str__(self) -> str:
        return f"{self.what}: {self.job}: {self.seen}"


def faults(lines: list[Line]) -> list[Fault]:
    """Return all that is wrong in a ledger; empty when the promise was kept."""
    return faults_of(history_of(lines))


def faults_of(past: History) -> list[Fault]:
    """Return all that is wrong in a history."""
    found = [Fault(JUDGE, "-", f"two worker processes had the pid {pid}") for pid in past.opened_twice]
    if not any(job.planned for job in past.jobs.values()):
        found.append(Fault(JUDGE, "-", "no job was enqueued"))
    for job in past.jobs.values():
        if _accepted(job, past):
            found += _outcome(job)
            found += _poison(job)
        else:
            found += _phantom(job)
        found += _fences(job)
        found += _again(job, past)
        found += _settlements(job)
    return sorted(found)


# Accepted, and what became of it


def _accepted(job: Job, past: History) -> bool:
    """An enqueue returned, or the run that enqueued it is the one that counted of its parent."""
    if job.planned is not None:
        return True
    if job.parent is None:
        return False
    record = past.jobs[job.parent.job].record
    return record is not None and record.state == "succeeded" and record.run == job.parent.name


def _phantom(job: Job) -> Iterator[Fault]:
    for run in job.runs:
        yield Fault(PHANTOM, job.id, f"started as run {run.name}")
    for run_name in job.stray:
        yield Fault(PHANTOM, job.id, f"left a mark in run {run_name}, which never started")
    if job.handouts and not job.runs:
        yield Fault(PHANTOM, job.id, "was handed out")
    if job.records:
        yield Fault(PHANTOM, job.id, f"is known to the store as {job.records[-1].state}")


def _kind(job: Job) -> str:
    return job.planned.kind if job.planned else "kid"


def _outcome(job: Job) -> Iterator[Fault]:
    for run_name in job.stray:
        yield Fault(PHANTOM, job.id, f"left a mark in run {run_name}, which never started")
    record, kind = job.record, _kind(job)
    if record is None:
        yield Fault(LOST, job.id, "accepted, and there is no record of it")
        return
    if len(job.records) > 1 or record.kind != kind:
        yield Fault(JUDGE, job.id, f"{len(job.records)} records, of kind {record.kind} where {kind} was enqueued")
    if record.state not in _TERMINAL:
        yield Fault(LOST, job.id, f"is still {record.state} at the end")
        return
    state, reason = _ENDS.get(kind, ("succeeded", ""))
    if record.state == "dead" and state != "dead":
        yield Fault(HEALTHY_DEAD, job.id, f"{kind} is dead ({record.reason})")
    elif (record.state, record.reason) != (state, reason):
        yield Fault(OUTCOME, job.id, f"{kind} ended {record.state} ({record.reason}), planned {state} ({reason})")
    fails = job.planned.fails if job.planned else 0
    attempts = _ATTEMPTS.get(kind, fails + 1)
    if record.attempt != attempts:
        yield Fault(OUTCOME, job.id, f"ended in attempt {record.attempt}, planned {attempts}")
    yield from _last_run(job, record.run)


def _last_run(job: Job, told: str) -> Iterator[Fault]:
    """The run that counts is that of the last hand-out, it came to its end, and it left its effect."""
    runs = job.handouts[-1].runs if job.handouts else []
    if not job.runs:
        yield Fault(LOST, job.id, "has ended, and never started")
    elif not runs:
        yield Fault(SUPERSEDED, job.id, f"has ended, but its last hand-out ({job.handouts[-1].token}) never started")
    elif _kind(job) != "poison":
        last = runs[-1]
        if not last.effects:
            yield Fault(LOST, job.id, f"has ended, but its last run {last.name} left no effect")
        if last.ended is None:
            yield Fault(SUPERSEDED, job.id, f"has ended, but its last run {last.name} never came to its end")
        if _kind(job) not in _SILENT and told != last.name:
            yield Fault(SUPERSEDED, job.id, f"the store kept the result of run {told or '-'}, the last is {last.name}")


def _poison(job: Job) -> Iterator[Fault]:
    """Poison ends with the death of its first solo run that a living worker saw."""
    if _kind(job) == "poison" and job.runs:
        last = job.handouts[-1].runs[-1:]
        if not (last and last[0].solo and last[0].dying):
            yield Fault(OUTCOME, job.id, "poison, and its last run did not die alone")


# Second starts


def _fences(job: Job) -> Iterator[Fault]:
    for token, count in Counter(handout.token for handout in job.handouts).items():
        if count > 1:
            yield Fault(FENCE, job.id, f"fence {token} was given {count} times")
    for handout in job.handouts:
        if len(handout.runs) > 1:
            yield Fault(FENCE, job.id, f"{len(handout.runs)} runs began under fence {handout.token}")
        for run in handout.runs:
            if (run.worker, run.attempt, run.crashes) != (handout.worker, handout.attempt, handout.crashes):
                yield Fault(FENCE, job.id, f"run {run.name} is not what was handed out as {handout.token}")


def cause_of(before: Handout, after: Handout, past: History) -> Cause:
    """Return why a job was handed out again; "" when there is no good reason."""
    failed = any(run.how == "failed" and run.ended is not None and run.ended <= after.t for run in before.runs)
    if failed and after.attempt == before.attempt + 1:
        return "retry"
    death = past.deaths.get(before.worker)
    if death is not None and death.t <= after.t:
        return death.scope
    for frost in past.frosts.get(before.worker, ()):
        if frost.t <= after.t and any(end <= after.t + _ROUNDING for t, end in _leases(before.worker, frost.t, past)):
            return "freeze"
    # A job that was killed alone while its worker left: what killed it may be what ends the whole service.
    killed_alone = any(run.solo and run.dying for run in before.runs)
    if (not before.runs or killed_alone) and _left(before.worker, past) <= after.t:
        return "given back"
    if not before.runs and before.returned:
        return "given back"
    return ""


def _leases(worker: int, since: float, past: History) -> list[tuple[float, float]]:
    return [(t, end) for t, end in past.leases.get(worker, ()) if t >= since]


def _left(worker: int, past: History) -> float:
    """Return when a worker began to leave: it hands back what it has not started."""
    return past.supervisor_gone.get(past.supervisor_of.get(worker, 0), float("inf"))


def _again(job: Job, past: History) -> Iterator[Fault]:
    for before, after in pairwise(job.handouts):
        cause = cause_of(before, after, past)
        if not cause:
            yield Fault(UNEXPLAINED, job.id, _seen(before, after))
            continue
        if cause == "machine" and before.runs:  # one that had not started may have been given back, unseen
            death = past.deaths[before.worker]
            ends = [end for _, end in _leases(before.worker, death.t, past)]
            if ends and after.t < ends[0] - _ROUNDING:
                yield Fault(EARLY, job.id, f"{ends[0] - after.t:.3f} s before the end: {_seen(before, after)}")
        if after.attempt != before.attempt + (cause == "retry"):
            yield Fault(OUTCOME, job.id, f"a {cause} took attempt {before.attempt} to {after.attempt}")
        least, most = _crashes(before, after, cause, past)
        if not least <= after.crashes <= most:
            yield Fault(BLAME, job.id, f"{least} to {most} crashes can be, {after.crashes} are: {_seen(before, after)}")
    if _kind(job) != "apart":
        for run in job.runs:
            if run.solo != (run.crashes >= _SOLO_AFTER):
                yield Fault(BLAME, job.id, f"run {run.name} after {run.crashes} crashes: solo is {run.solo}")


def _crashes(before: Handout, after: Handout, cause: Cause, past: History) -> tuple[int, int]:
    """Return the least and the most crashes that may be counted at the second of two hand-outs."""
    least = most = before.crashes
    if cause == "retry":
        least = most = before.crashes if before.crashes >= _SOLO_AFTER else 0
    elif cause in ("worker", "own", "machine", "freeze"):
        # One that had not started, or whose end was on its way, may have been caught in the moment of starting or
        # ending, where the map and the handler's own line differ.
        least += any(run.ended is None for run in before.runs)
        most += 1
    # Hand-outs that nobody could write down: to workers that were killed before their claim had come back.
    others = sum(before.t <= death.t <= after.t for pid, death in past.deaths.items() if pid != before.worker)
    return least, most + others


def _seen(before: Handout, after: Handout) -> str:
    return (
        f"fence {before.token} to worker {before.worker} at {before.t:.3f} "
        f"({'started' if before.runs else 'not started'}), then {after.token} to {after.worker} at {after.t:.3f}"
    )


# Settlements


def _settlements(job: Job) -> Iterator[Fault]:
    newest = max((handout.token for handout in job.handouts), default=0)
    for each in job.settlements:
        newer = [handout for handout in job.handouts if handout.token > each.token]
        said = f"{each.verdict} under fence {each.token}"
        if each.accepted and each.verdict in _TERMINAL:
            if newer:
                yield Fault(SUPERSEDED, job.id, f"{said} was accepted, and {newest} was handed out")
            elif job.record is not None and job.record.state != each.verdict:
                yield Fault(SUPERSEDED, job.id, f"{said} was accepted, and the job ended {job.record.state}")
        elif each.accepted and any(handout.t < each.began for handout in newer):
            yield Fault(SUPERSEDED, job.id, f"{said} was accepted when {newest} had been handed out")
        elif not each.accepted and not newer:
            yield Fault(WRONGED, job.id, f"{said} was refused, and no later hand-out is known")


def main() -> int:
    """Judge the ledger that is named on the command line; print its figures and its faults."""
    from tests.faults.survival.figures import figures_of

    past = history_of(read(Path(sys.argv[1])))
    found = faults_of(past)
    print(figures_of(past))
    for fault in found[:50]:
        print(fault)
    print(f"{len(found)} faults" if found else "0 faults: nothing lost, nothing twice without a reason")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
