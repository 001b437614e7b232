"""The survival proof in small, the ledger that was kept of the long run, and the checker's own eyes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.proofs.survival import Orders, judge, survive
from tests.faults.survival.check import (
    BLAME,
    EARLY,
    FENCE,
    HEALTHY_DEAD,
    JUDGE,
    LOST,
    OUTCOME,
    PHANTOM,
    SUPERSEDED,
    UNEXPLAINED,
    WRONGED,
    faults,
)
from tests.faults.survival.figures import figures_of
from tests.faults.survival.history import history_of
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
    Opened,
    Planned,
    Record,
    Settled,
    Started,
    Stopping,
    Thawed,
    lines_of,
    ordered,
    text_of,
)

KEPT = Path(__file__).with_name("ledger.jsonl.xz")


@pytest.mark.timeout(400)
async def test_workers_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    orders = Orders(seed=7, kills=10, jobs=1500, burst=100, gap=1.0, supervisors=1, poison=1)
    figures, found = judge(await survive(orders, tmp_path))
    print(figures)
    assert not found, "\n".join(map(str, found[:50]))
    assert (figures.kills["worker"], figures.kills["machine"], figures.kills["supervisor"]) == (9, 1, 1)
    assert figures.ends["dead (poison)"] == 1
    assert figures.jobs >= 1500


def test_the_ledger_of_the_long_run_is_clean() -> None:
    figures, found = judge(KEPT)
    assert not found, "\n".join(map(str, found[:50]))
    assert figures.kills["worker"] + figures.kills["machine"] >= 200
    assert figures.kills["machine"] >= 20
    assert figures.jobs >= 20_000
    assert figures.running[-1] >= 100
    assert figures.refused > 0, "some reports came too late, and were refused"


# The checker must be able to fail. A story in which all is well, and what is wrong with it after one change:

SUPERVISOR, WORKER, OTHER, THIRD = 1, 10, 20, 30


def run_of(id: str, name: str, t: float, worker: int, token: int, **more: int) -> list[Line]:
    """Return the lines of one whole run."""
    start = {"attempt": 1, "crashes": 0, "worker": worker, "pid": worker, **more}
    pid = start["pid"]
    return [
        Started(t=t, id=id, run=name, token=token, **start),
        Effect(t=t + 0.1, pid=pid, id=id, run=name),
        Finished(t=t + 0.2, pid=pid, id=id, run=name),
    ]


def story() -> list[Line]:
    """Return a clean ledger: "q.a" runs, "q.b" is caught by a kill and runs again, "q.c" has a follow-up, "q.d"."""
    jobs = (Planned("q.a", "steady"), Planned("q.b", "telling"), Planned("q.c", "parent"))
    return ordered(
        [
            Opened(t=1, pid=WORKER, supervisor=SUPERVISOR),
            Opened(t=1, pid=OTHER, supervisor=SUPERVISOR),
            Enqueued(t=2, pid=5, began=1.9, jobs=jobs),
            Handed(t=3, pid=WORKER, token=1, holder="h", jobs=(("q.a", 1, 0), ("q.b", 1, 0))),
            *run_of("q.a", "a1", 3, WORKER, 1),
            Settled(t=4, pid=WORKER, began=3.9, accepted=(("q.a", 1, "succeeded"),)),
            *run_of("q.b", "b1", 4.5, WORKER, 1)[:2],
            Killed(t=5, pid=2, scope="worker", workers=(WORKER,)),
            Handed(t=5.2, pid=OTHER, token=2, holder="i", jobs=(("q.b", 1, 1), ("q.c", 1, 0))),
            *run_of("q.b", "b2", 5.3, OTHER, 2, crashes=1),
            *run_of("q.c", "c1", 5.3, OTHER, 2),
            Followed(t=5.35, pid=OTHER, id="q.c", run="c1", child="q.d"),
            Settled(t=6, pid=OTHER, began=5.9, accepted=(("q.b", 2, "succeeded"), ("q.c", 2, "succeeded"))),
            Handed(t=7, pid=OTHER, token=3, holder="i", jobs=(("q.d", 1, 0),)),
            *run_of("q.d", "d1", 7.1, OTHER, 3),
            Settled(t=8, pid=OTHER, began=7.9, accepted=(("q.d", 3, "succeeded"),)),
            Record(t=9, id="q.a", kind="steady", state="succeeded"),
            Record(t=9, id="q.b", kind="telling", state="succeeded", crashes=1, run="b2"),
            Record(t=9, id="q.c", kind="parent", state="succeeded", run="c1"),
            Record(t=9, id="q.d", kind="kid", state="succeeded", run="d1"),
        ]
    )


Change = Callable[[list[Line]], list[Line]]


def without(*gone: Callable[[Line], bool]) -> Change:
    return lambda lines: [line for line in lines if not any(is_gone(line) for is_gone in gone)]


def adding(*more: Line) -> Change:
    return lambda lines: ordered([*lines, *more])


def recording(record: Record) -> Change:
    """Put one record in place of the one that the job has."""
    return lambda lines: [*without(lambda line: isinstance(line, Record) and line.id == record.id)(lines), record]


def again(t: float, *, worker: int = OTHER, token: int = 9, crashes: int = 0) -> list[Line]:
    """Return another hand-out of "q.a", and its run."""
    handed = Handed(t=t, pid=worker, token=token, holder="i", jobs=(("q.a", 1, crashes),))
    return [handed, *run_of("q.a", f"a-{token}", t, worker, token, crashes=crashes)]


def test_a_story_in_which_all_is_well_has_no_fault() -> None:
    assert faults(story()) == []
    figures = figures_of(history_of(story()))
    assert (figures.jobs, figures.followed, figures.starts, figures.again) == (4, 1, 5, {"worker": 1})
    assert (figures.running, figures.hit) == ([1], [1])
    assert figures.orphans == pytest.approx([0.3])


def test_a_ledger_reads_as_it_was_written() -> None:
    assert lines_of(b"".join(map(text_of, story()))) == story()


@pytest.mark.parametrize(
    ("what", "job", "change"),
    [
        pytest.param(
            LOST,
            "q.a",
            without(lambda line: isinstance(line, Record) and line.id == "q.a"),
            id="an accepted job is gone",
        ),
        pytest.param(
            LOST,
            "q.a",
            recording(Record(t=9, id="q.a", kind="steady", state="running")),
            id="an accepted job has not ended",
        ),
        pytest.param(
            LOST,
            "q.a",
            without(lambda line: isinstance(line, Effect) and line.run == "a1"),
            id="a job has ended without its effect",
        ),
        pytest.param(
            LOST,
            "q.d",
            without(lambda line: isinstance(line, Record) and line.id == "q.d"),
            id="a follow-up of the run that counted is gone",
        ),
        pytest.param(
            PHANTOM,
            "q.x",
            adding(*run_of("q.x", "x1", 8, OTHER, 4)),
            id="a job that nobody enqueued starts",
        ),
        pytest.param(
            PHANTOM,
            "q.x",
            adding(Effect(t=8, pid=OTHER, id="q.x", run="x1")),
            id="an effect of a job that nobody enqueued",
        ),
        pytest.param(
            PHANTOM,
            "q.a",
            adding(Effect(t=8, pid=OTHER, id="q.a", run="never")),
            id="an effect of a run that never started",
        ),
        pytest.param(
            PHANTOM,
            "q.x",
            adding(Record(t=9, id="q.x", kind="steady", state="ready")),
            id="the store knows a job that nobody enqueued",
        ),
        pytest.param(
            PHANTOM,
            "q.e",
            adding(
                Followed(t=4.6, pid=WORKER, id="q.b", run="b1", child="q.e"),
                Record(t=9, id="q.e", kind="kid", state="succeeded"),
            ),
            id="a follow-up of a run that was cut off",
        ),
        pytest.param(
            HEALTHY_DEAD,
            "q.b",
            recording(Record(t=9, id="q.b", kind="telling", state="dead", reason="poison", crashes=1)),
            id="a healthy job is dead",
        ),
        pytest.param(
            OUTCOME,
            "q.a",
            recording(Record(t=9, id="q.a", kind="steady", state="succeeded", attempt=2)),
            id="a kill burned an attempt",
        ),
        pytest.param(UNEXPLAINED, "q.a", adding(*again(3.5)), id="a second start while the first holder lives"),
        pytest.param(
            UNEXPLAINED,
            "q.b",
            without(lambda line: isinstance(line, Killed)),
            id="a second start and nobody was killed",
        ),
        pytest.param(
            UNEXPLAINED,
            "q.d",
            adding(
                Killed(t=7.6, pid=2, scope="worker", workers=(OTHER,)),
                Handed(t=7.5, pid=THIRD, token=4, holder="j", jobs=(("q.d", 1, 1),)),
                *run_of("q.d", "d2", 7.5, THIRD, 4, crashes=1),
            ),
            id="a second start before the kill",
        ),
        pytest.param(
            SUPERSEDED,
            "q.b",
            adding(Settled(t=5.8, pid=WORKER, began=5.7, accepted=(("q.b", 1, "succeeded"),))),
            id="a superseded success was accepted",
        ),
        pytest.param(
            SUPERSEDED,
            "q.b",
            adding(Settled(t=5.8, pid=WORKER, began=5.7, accepted=(("q.b", 1, "retry"),))),
            id="a superseded retry was accepted",
        ),
        pytest.param(
            SUPERSEDED,
            "q.b",
            recording(Record(t=9, id="q.b", kind="telling", state="succeeded", crashes=1, run="b1")),
            id="the store kept the result of a superseded run",
        ),
        pytest.param(
            SUPERSEDED,
            "q.b",
            without(lambda line: isinstance(line, Finished) and line.run == "b2"),
            id="a job has ended while its last run had not",
        ),
        pytest.param(
            WRONGED,
            "q.d",
            adding(Settled(t=8, pid=OTHER, began=7.9, superseded=(("q.d", 3, "succeeded"),))),
            id="the report of the last holder was refused",
        ),
        pytest.param(FENCE, "q.a", adding(*again(5.5, token=1)), id="one fence was given twice"),
        pytest.param(
            FENCE,
            "q.d",
            adding(*run_of("q.d", "d2", 7.2, OTHER, 3)),
            id="one hand-out was run twice",
        ),
        pytest.param(
            BLAME,
            "q.b",
            lambda lines: [_with_crashes(line, 0) for line in lines],
            id="a crash was not counted",
        ),
        pytest.param(
            BLAME,
            "q.b",
            lambda lines: [_with_crashes(line, 3) for line in lines],
            id="a crash was counted that the job was not in",
        ),
        pytest.param(
            JUDGE,
            "-",
            adding(Opened(t=8, pid=WORKER, supervisor=SUPERVISOR)),
            id="two worker processes had one pid",
        ),
        pytest.param(JUDGE, "-", lambda lines: lines[:2], id="nothing was enqueued"),
    ],
)
def test_the_checker_sees(what: str, job: str, change: Change) -> None:
    found = faults(change(story()))
    assert what in {fault.what for fault in found if fault.job == job}, found


def _with_crashes(line: Line, crashes: int) -> Line:
    """Return the second hand-out of "q.b", and its run, with another count of crashes."""
    if isinstance(line, Handed) and line.token == 2:
        return Handed(t=line.t, pid=line.pid, token=2, holder="i", jobs=(("q.b", 1, crashes), ("q.c", 1, 0)))
    if isinstance(line, Started) and line.run == "b2":
        return Started(
            t=line.t, pid=line.pid, id=line.id, run="b2", attempt=1, crashes=crashes, token=2, worker=line.worker
        )
    return line


def lapse(taken: float, *more: Line) -> list[Line]:
    """Return a story in which "q.a" runs when `more` befalls its worker, and is handed out again at `taken`."""
    return ordered(
        [
            Opened(t=1, pid=WORKER, supervisor=SUPERVISOR),
            Enqueued(t=2, pid=5, began=1.9, jobs=(Planned("q.a", "telling"),)),
            Handed(t=3, pid=WORKER, token=1, holder="h", jobs=(("q.a", 1, 0),)),
            *run_of("q.a", "a1", 3, WORKER, 1)[:1],
            *more,
            *again(taken, crashes=1),
            Record(t=99, id="q.a", kind="telling", state="succeeded", crashes=1, run="a-9"),
        ]
    )


def test_what_a_dead_machine_held_waits_for_the_end_of_its_lease() -> None:
    killed = Killed(t=4, pid=2, scope="machine", workers=(WORKER,), supervisor=SUPERVISOR, leases={WORKER: 13.0})
    assert faults(lapse(13.2, killed)) == []
    assert figures_of(history_of(lapse(13.2, killed))).after_lease == pytest.approx([0.2])
    assert [fault.what for fault in faults(lapse(12.5, killed))] == [EARLY]


def test_what_a_frozen_machine_held_waits_for_the_end_of_its_lease_and_its_late_report_is_refused() -> None:
    frozen = Frozen(t=4, pid=2, workers=(WORKER,), supervisor=SUPERVISOR, leases={WORKER: 13.0})
    thawed = Thawed(t=16, pid=2, workers=(WORKER,), supervisor=SUPERVISOR)
    late = run_of("q.a", "a1", 3, WORKER, 1)[1:]
    refused = Settled(t=17, pid=WORKER, began=16.9, superseded=(("q.a", 1, "succeeded"),))
    accepted = Settled(t=17, pid=WORKER, began=16.9, accepted=(("q.a", 1, "succeeded"),))
    assert faults(lapse(13.2, frozen, thawed, *late, refused)) == []
    assert [fault.what for fault in faults(lapse(12.5, frozen, thawed, refused))] == [UNEXPLAINED]
    assert [fault.what for fault in faults(lapse(13.2, frozen, thawed, *late, accepted))] == [SUPERSEDED]


def test_only_what_had_not_started_may_be_handed_back() -> None:
    given_back = Settled(t=3.9, pid=WORKER, began=3.8, accepted=(("q.a", 1, "release"),))
    unstarted = without(lambda line: isinstance(line, Started) and line.run == "a1")
    calm = [_uncrashed(line) for line in lapse(5, given_back)]
    assert faults(unstarted(calm)) == []
    assert [fault.what for fault in faults(calm)] == [UNEXPLAINED]
    leaving = [_uncrashed(line) for line in lapse(5, Stopping(t=4, pid=2, supervisor=SUPERVISOR))]
    assert faults(unstarted(leaving)) == []
    assert [fault.what for fault in faults(leaving)] == [UNEXPLAINED]


def _uncrashed(line: Line) -> Line:
    if isinstance(line, Handed) and line.token == 9:
        return Handed(t=line.t, pid=line.pid, token=9, holder="i", jobs=(("q.a", 1, 0),))
    if isinstance(line, Started) and line.token == 9:
        return run_of("q.a", line.run, line.t, line.worker, 9)[0]
    return line


def poisoned(*, solo: bool, dies: bool = True, crashes: int = 2) -> list[Line]:
    """Return a poison job's last run: alone in process 31, or in worker 30 itself."""
    pid = 31 if solo else THIRD
    (start, *_) = run_of("q.p", "p1", 3, THIRD, 1, pid=pid, crashes=crashes)
    lines: list[Line] = [
        Opened(t=1, pid=THIRD, supervisor=SUPERVISOR),
        Enqueued(t=2, pid=5, began=1.9, jobs=(Planned("q.p", "poison"),)),
        Handed(t=3, pid=THIRD, token=1, holder="h", jobs=(("q.p", 1, crashes),)),
        start,
        Record(t=9, id="q.p", kind="poison", state="dead", reason="poison", crashes=crashes),
    ]
    return ordered([*lines, Dying(t=3.1, pid=pid, id="q.p", run="p1")] if dies else lines)


def poisoned_while_its_worker_leaves(*, left: bool) -> list[Line]:
    """Return two last runs of a poison job; its supervisor is killed before the first one, if `left`."""
    (first, *_) = run_of("q.p", "p0", 2.2, OTHER, 7, pid=21, crashes=2)
    more: list[Line] = [
        Opened(t=1, pid=OTHER, supervisor=2),
        Handed(t=2.1, pid=OTHER, token=0, holder="i", jobs=(("q.p", 1, 2),)),
        Started(t=2.2, pid=first.pid, id="q.p", run="p0", attempt=1, crashes=2, worker=OTHER, token=0),
        Dying(t=2.3, pid=first.pid, id="q.p", run="p0"),
    ]
    if left:
        more.append(Killed(t=2.05, pid=3, scope="supervisor", workers=(), supervisor=2))
    return ordered([*poisoned(solo=True), *more])


def test_a_job_that_is_killed_alone_while_its_worker_leaves_may_start_again() -> None:
    assert faults(poisoned_while_its_worker_leaves(left=True)) == []
    assert UNEXPLAINED in {each.what for each in faults(poisoned_while_its_worker_leaves(left=False))}


def test_poison_ends_with_its_death_alone_in_a_process_and_not_sooner() -> None:
    assert faults(poisoned(solo=True)) == []
    assert OUTCOME in {fault.what for fault in faults(poisoned(solo=False, crashes=1))}
    assert OUTCOME in {fault.what for fault in faults(poisoned(solo=True, dies=False))}
    assert BLAME in {fault.what for fault in faults(poisoned(solo=True, crashes=1))}
    assert BLAME in {fault.what for fault in faults(poisoned(solo=False))}
