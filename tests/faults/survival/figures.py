"""The figures of a ledger: how much was done, how much was killed, and how soon what was orphaned ran again."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.faults.survival.check import cause_of
from tests.faults.survival.history import Death, Handout, History, Job

__all__ = ["Figures", "figures_of", "quantile"]


@dataclass(frozen=True)
class Figures:
    """All figures; times in seconds, sorted."""

    jobs: int
    followed: int
    dropped: int
    twice: int
    starts: int
    again: Counter[str]
    """Starts that were not a job's first, by cause."""
    kills: Counter[str]
    """Kills by scope, "own" for those that a poison job did, "freeze" for machines that stood still."""
    processes_killed: int
    running: Sequence[int]
    """At each kill of workers: runs under way in all workers."""
    hit: Sequence[int]
    """At each kill of workers: runs that it cut off."""
    orphans: Sequence[float]
    """From a worker's kill to the next start of each job that it had started, in a process of its own too."""
    poisoned: Sequence[float]
    """The same where a poison job did the killing, mostly twice in a row with the same neighbours."""
    after_lease: Sequence[float]
    """From the end of a dead machine's lease to the next start of each job that it had started."""
    ends: Counter[str]
    refused: int
    told_lost: int
    solo: int
    """Runs of healthy jobs alone in a process, because of two crashes."""
    seconds: float

    def __str__(self) -> str:
        """Return them as lines of text."""
        kills = ", ".join(f"{count} {scope}" for scope, count in sorted(self.kills.items()))
        again = ", ".join(f"{count} {cause}" for cause, count in sorted(self.again.items()))
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        rows = {
            "jobs accepted": f"{self.jobs} in {self.seconds:.0f} s, {self.followed} of them follow-ups",
            "answered with a job that stood": f"{self.twice}",
            "follow-ups dropped with their run": f"{self.dropped}",
            "ended": ends,
            "kills": f"{sum(self.kills.values())}: {kills}; {self.processes_killed} worker processes in all",
            "runs under way at a kill": _spread(self.running),
            "runs cut off by a kill": _spread(self.hit),
            "starts": f"{self.starts}, {sum(self.again.values())} of them not the first of their job: {again}",
            "healthy jobs run alone after two crashes": f"{self.solo}",
            "settlements refused as superseded": f"{self.refused} ({self.told_lost} told to observers)",
            "kill of a worker to next start": _quantiles(self.orphans),
            "death of a worker by poison to next start": _quantiles(self.poisoned),
            "end of a dead machine's lease to next start": _quantiles(self.after_lease),
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {text}" for name, text in rows.items())


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest of the sorted values that at least `share` of them do not exceed; 0 for none."""
    return values[max(0, -int(-share * len(values) // 1) - 1)] if values else 0.0


def _spread(values: Sequence[int]) -> str:
    return f"median {quantile(values, 0.5):.0f}, most {values[-1]}" if values else "none"


def _quantiles(values: Sequence[float]) -> str:
    if not values:
        return "none"
    p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
    return f"p50 {p50:.3f} s, p99 {p99:.3f} s, max {values[-1]:.3f} s ({len(values)} jobs)"


def figures_of(past: History) -> Figures:
    """Return the figures of a history."""
    again: Counter[str] = Counter()
    waits: dict[str, list[float]] = {"worker": [], "own": [], "lease": []}
    for job in past.jobs.values():
        _second_starts(job, past, again, waits)
    known = [job for job in past.jobs.values() if job.records]
    accepted = [job for job in known if job.planned or job.parent]
    runs = [run for job in past.jobs.values() for run in job.runs]
    kills = Counter(kill.scope for kill in past.kills)
    kills["own"] = sum(line.pid in past.supervisor_of for line in past.dying)
    kills["freeze"] = len(past.freezes)
    running, hit = _at_kills(past)
    return Figures(
        jobs=len(accepted),
        followed=sum(job.planned is None for job in accepted),
        dropped=sum(job.parent is not None and not job.records for job in past.jobs.values()),
        twice=len(past.twice),
        starts=len(runs),
        again=again,
        kills=Counter({scope: count for scope, count in kills.items() if count}),
        processes_killed=sum(pid in past.supervisor_of for pid in past.deaths),
        running=running,
        hit=hit,
        orphans=sorted(waits["worker"]),
        poisoned=sorted(waits["own"]),
        after_lease=sorted(waits["lease"]),
        ends=Counter(_end(job) for job in accepted),
        refused=sum(not each.accepted for job in past.jobs.values() for each in job.settlements),
        told_lost=past.told_lost,
        solo=sum(run.solo for job in accepted if not _expected_alone(job) for run in job.runs),
        seconds=past.last - past.first,
    )


def _expected_alone(job: Job) -> bool:
    return job.planned is not None and job.planned.kind in ("apart", "poison")


def _end(job: Job) -> str:
    record = job.records[-1]
    return f"{record.state} ({record.reason})" if record.reason else record.state


def _second_starts(job: Job, past: History, again: Counter[str], waits: dict[str, list[float]]) -> None:
    """Count a job's second starts by cause; note how long it waited, from the blow, or from the end of a "lease"."""
    blow: tuple[str, Handout] | None = None
    ran = False
    for before, after in pairwise(job.handouts):
        ran = ran or bool(before.runs)
        cause = cause_of(before, after, past) or "unexplained"
        if cause != "given back":
            blow = (cause, before)
        if not (ran and after.runs and blow):
            continue
        cause, before = blow
        again[cause] += 1
        frozen = any(after.t <= frost.t <= after.runs[0].t for frost in past.frosts.get(after.worker, ()))
        if cause in ("worker", "own", "machine") and not frozen:
            # From the last blow to what held it: one that was struck again before it could start waits anew.
            death, begun = past.deaths[before.worker], after.runs[0].t
            end = _lapse(before.worker, death, begun, past)
            if end is not None:
                waits["lease"].append(begun - end)
            elif cause in waits:
                waits[cause].append(begun - death.t)


def _lapse(worker: int, death: Death, begun: float, past: History) -> float | None:
    """Return the end of a dead worker's lease where nobody was left to give its jobs back before `begun`."""
    gone = past.supervisor_gone.get(past.supervisor_of.get(worker, 0), float("inf"))
    ends = [end for t, end in past.leases.get(worker, ()) if t >= death.t]
    return ends[0] if ends and gone <= begun else None


def _at_kills(past: History) -> tuple[list[int], list[int]]:
    """Count, at each kill of workers, the runs under way everywhere, and those in what was killed."""
    spans = [
        (run.t, min(past.last if run.ended is None else run.ended, _halt_of(run.worker, past)), run.worker)
        for job in past.jobs.values()
        for run in job.runs
    ]
    begins = sorted(begin for begin, _, _ in spans)
    ends = sorted(end for _, end, _ in spans)
    running: list[int] = []
    hit: list[int] = []
    cut = Counter(worker for begin, end, worker in spans if end == _death_of(worker, past))
    for kill in past.kills:
        if kill.workers:
            running.append(bisect_left(begins, kill.t) - bisect_left(ends, kill.t))
            hit.append(sum(cut[pid] for pid in kill.workers))
    return sorted(running), sorted(hit)


def _halt_of(worker: int, past: History) -> float:
    """Return when a worker was killed or frozen."""
    return min([_death_of(worker, past), *(frost.t for frost in past.frosts.get(worker, ()))])


def _death_of(worker: int, past: History) -> float:
    death = past.deaths.get(worker)
    return float("inf") if death is None else death.t
