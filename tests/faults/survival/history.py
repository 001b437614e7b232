"""From lines to histories: what became of each job, and what was done to each worker process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.survival.ledger import (
    Dying,
    Effect,
    Enqueued,
    Finished,
    Followed,
    Frozen,
    Handed,
    Killed,
    Line,
    Lost,
    Opened,
    Plan,
    Planned,
    Record,
    Settled,
    Started,
    Stopping,
    Thawed,
    Twice,
)

__all__ = ["Death", "Frost", "Handout", "History", "Job", "Run", "Settlement", "history_of"]


@dataclass(eq=False)
class Run:
    """One call of a handler. token: 0 while it is not known which hand-out it belongs to."""

    name: str
    job: str
    t: float
    pid: int
    worker: int
    attempt: int
    crashes: int
    token: int
    effects: int = 0
    children: list[str] = field(default_factory=list)
    ended: float | None = None
    how: str = ""
    dying: bool = False

    @property
    def solo(self) -> bool:
        """In a process of its own."""
        return self.pid != self.worker


@dataclass(eq=False)
class Handout:
    """One hand-out of one job. t: when its claim came back, or its run began if the claim's line is missing."""

    token: int
    t: float
    worker: int
    attempt: int
    crashes: int
    runs: list[Run] = field(default_factory=list)
    returned: bool = False
    """Its worker gave it back unfinished, and the store took that."""


@dataclass(eq=False)
class Settlement:
    """What a worker said of one hand-out, and whether the store took it."""

    token: int
    verdict: str
    began: float
    t: float
    accepted: bool


@dataclass(eq=False)
class Death:
    """How a worker process was killed. scope: "worker", "machine", or "own" when a job did it."""

    t: float
    scope: str


@dataclass(eq=False)
class Frost:
    """A time in which a worker process stood still."""

    t: float
    until: float


@dataclass(eq=False)
class Job:
    """All that is known of one id."""

    id: str
    planned: Planned | None = None
    parent: Run | None = None
    handouts: list[Handout] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    """Names of runs that left an effect or an end but no start."""

    @property
    def record(self) -> Record | None:
        """Its record, at the end."""
        return self.records[-1] if self.records else None


@dataclass(eq=False)
class History:
    """A whole run of the proof."""

    jobs: dict[str, Job]
    plan: Plan | None
    deaths: dict[int, Death]
    frosts: dict[int, list[Frost]]
    kills: list[Killed]
    freezes: list[Frozen]
    dying: list[Dying]
    leases: dict[int, list[tuple[float, float]]]
    """By worker: when the store was asked, and the end of its lease by then."""
    supervisor_of: dict[int, int]
    supervisor_gone: dict[int, float]
    """By supervisor: when it was killed or told to stop."""
    opened_twice: list[int]
    twice: list[Twice]
    told_lost: int
    first: float
    last: float


def history_of(lines: Iterable[Line]) -> History:
    """Return the histories in lines that are in order of time."""
    jobs: dict[str, Job] = {}
    runs: dict[str, Run] = {}
    past = History(jobs, None, {}, defaultdict(list), [], [], [], defaultdict(list), {}, {}, [], [], 0, 0.0, 0.0)
    followed: list[Followed] = []

    def job(id_: str) -> Job:
        return jobs.setdefault(id_, Job(id_))

    for line in lines:
        past.first = past.first or line.t
        past.last = max(past.last, line.t)
        match line:
            case Plan():
                past.plan = line
            case Enqueued():
                for planned in line.jobs:
                    job(planned.id).planned = planned
            case Twice():
                past.twice.append(line)
                job(line.id)
            case Handed():
                for id_, attempt, crashes in line.jobs:
                    job(id_).handouts.append(Handout(line.token, line.t, line.pid, attempt, crashes))
            case Started():
                run = Run(line.run, line.id, line.t, line.pid, line.worker, line.attempt, line.crashes, line.token)
                runs[line.run] = run
                job(line.id).runs.append(run)
            case Effect() | Finished() | Dying() | Followed():
                known = runs.get(line.run)
                if known is None or known.job != line.id:
                    job(line.id).stray.append(line.run)
                elif isinstance(line, Effect):
                    known.effects += 1
                elif isinstance(line, Finished):
                    known.ended, known.how = line.t, line.how
                elif isinstance(line, Dying):
                    known.dying = True
                    past.dying.append(line)
                    past.deaths.setdefault(line.pid, Death(line.t, "own"))
                else:
                    known.children.append(line.child)
                    followed.append(line)
            case Settled():
                for said, accepted in ((line.accepted, True), (line.superseded, False)):
                    for id_, token, verdict in said:
                        job(id_).settlements.append(Settlement(token, verdict, line.began, line.t, accepted))
            case Lost():
                past.told_lost += 1
                job(line.id)
            case Record():
                job(line.id).records.append(line)
            case _:
                _of_processes(past, line)
    for link in followed:
        job(link.child).parent = runs[link.run]
    for each in jobs.values():
        _attach(each)
    return past


def _of_processes(past: History, line: Line) -> None:
    match line:
        case Opened():
            if line.pid in past.supervisor_of:
                past.opened_twice.append(line.pid)
            past.supervisor_of[line.pid] = line.supervisor
        case Killed():
            past.kills.append(line)
            for pid in line.workers:
                past.deaths.setdefault(pid, Death(line.t, line.scope))
            if line.supervisor:
                past.supervisor_gone.setdefault(line.supervisor, line.t)
            _note_leases(past, line.t, line.leases)
        case Frozen():
            past.freezes.append(line)
            for pid in line.workers:
                past.frosts[pid].append(Frost(line.t, float("inf")))
            _note_leases(past, line.t, line.leases)
        case Thawed():
            for pid in line.workers:
                for frost in past.frosts[pid][-1:]:
                    frost.until = line.t
        case Stopping():
            past.supervisor_gone.setdefault(line.supervisor, line.t)


def _note_leases(past: History, t: float, leases: dict[int, float]) -> None:
    for pid, end in leases.items():
        past.leases[pid].append((t, end))


def _attach(job: Job) -> None:
    """Give each run to its hand-out: by the fence, or, where the run does not know it, the last one to its worker."""
    by_token = {handout.token: handout for handout in job.handouts}
    for run in job.runs:
        if not run.token:
            to_it = [each for each in job.handouts if each.worker == run.worker and each.t <= run.t]
            run.token = max((each.token for each in to_it), default=0)
        handout = by_token.get(run.token)
        if handout is None:
            handout = by_token[run.token] = Handout(run.token, run.t, run.worker, run.attempt, run.crashes)
            job.handouts.append(handout)
        handout.runs.append(run)
    job.handouts.sort(key=lambda each: each.token)
    given_back = {each.token for each in job.settlements if each.accepted and each.verdict == "release"}
    for handout in job.handouts:
        handout.returned = handout.token in given_back
