"""Each thing that the judge of the Redis survival proof must find, in ledgers made up for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.redis.judge import Accepted, Evidence, Kill, Orders, Outage, judge, percentile
from tests.support.ledger import Entry


def entries(text: str) -> list[Entry]:
    """Read `start a 1 2.5` and the like, by semicolons."""
    rows = (each.split() for each in text.split(";") if each.strip())
    return [Entry(word, name, int(pid), float(at)) for word, name, pid, at in rows]


def evidence(text: str, *, fsync: str = "always", **known: Any) -> Evidence:
    """The evidence of jobs `a`, ..., all accepted at second 1 by default; it ends at second 100."""
    seen = entries(text)
    names = sorted({each.name for each in seen if each.word != "above"})
    known.setdefault("accepted", {name: Accepted(0.9, 1.0) for name in names})
    orders = Orders(len(known["accepted"]), len(known.get("kills", ())), len(known.get("outages", ())), fsync)
    return Evidence(**{"orders": orders, "entries": seen, "ended": 100.0, **known})


def kill(at: float, *pids: int) -> Kill:
    return Kill(frozenset(pids), at)


def test_a_quiet_run_holds() -> None:
    verdict = judge(evidence("start a 1 1.1; end a 1 1.5; start b 2 1.2; end b 2 1.3"))
    assert verdict.holds, str(verdict)
    assert str(verdict).endswith("holds")


def test_a_job_that_never_ended_is_lost() -> None:
    verdict = judge(evidence("start a 1 1.1; end a 1 1.5; start b 2 1.2"))
    assert (verdict.lost, verdict.wrong) == (["b"], ["lost"])


@pytest.mark.parametrize(
    ("fsync", "answered", "lost"),
    [("everysec", 3.5, 0), ("everysec", 2.5, 1), ("everysec", 5.5, 1), ("always", 3.5, 1)],
)
def test_only_everysec_may_lose_and_only_what_is_fresh(fsync: str, answered: float, lost: int) -> None:
    accepted = {"a": Accepted(answered - 0.1, answered), "b": Accepted(6.0, 6.1)}
    verdict = judge(
        evidence("start b 1 6.2; end b 1 6.3", fsync=fsync, accepted=accepted, outages=[Outage(5.0, 5.3)], ended=7.0)
    )
    assert (len(verdict.lost), len(verdict.allowed)) == (lost, 1 - lost)
    assert verdict.holds is not bool(lost)


@pytest.mark.parametrize("field", ["dead", "left"])
def test_jobs_that_are_dead_or_left_are_wrong(field: str) -> None:
    known: dict[str, Any] = {field: 1}
    verdict = judge(evidence("start a 1 1.1; end a 1 1.5", **known))
    assert verdict.wrong == [field]


def test_a_second_start_is_explained_by_the_kill_of_its_process() -> None:
    verdict = judge(evidence("start a 1 1.1; start a 2 2.5; end a 2 3", kills=[kill(2.0, 1)]))
    assert (verdict.second_starts["a kill"], verdict.hits, verdict.rerun) == (1, 1, [0.5])
    assert verdict.holds, str(verdict)


@pytest.mark.parametrize(
    ("text", "blow"),
    [
        ("start a 1 1.1; start a 2 2.5; end a 2 3", kill(2.0, 7)),  # another process was killed
        ("start a 1 1.1; start a 2 1.5; end a 2 3", kill(2.0, 1)),  # it was killed after the second start
        ("start a 1 1.1; end a 1 1.2; start a 2 5.5; end a 2 6", kill(5.0, 1)),  # the end was reported long before
        ("start a 1 3.1; start a 2 3.5; end a 2 4", kill(2.0, 1)),  # it was dead before it started: another's pid
        ("start a 1 1.1; end a 1 1.2; start a 1 1.5; end a 1 1.6", kill(2.0, 3)),  # the kill ended no run
    ],
)
def test_a_second_start_that_nothing_explains_is_found(text: str, blow: Kill) -> None:
    verdict = judge(evidence(text, kills=[blow]))
    assert len(verdict.unattributed) == 1
    assert "unattributed second starts" in verdict.wrong


def test_a_kill_explains_one_more_start_only() -> None:
    text = "start a 1 1.1; start a 2 2.1; start a 3 2.3; end a 3 3"
    assert len(judge(evidence(text, kills=[kill(2.0, 1)])).unattributed) == 1


def test_an_end_that_an_outage_held_up_may_be_undone_by_a_kill() -> None:
    text = "start a 1 1.1; end a 1 2.2; start a 2 8; end a 2 8.1; start b 3 7.2; end b 3 7.3"
    accepted = {"a": Accepted(0.9, 1.0), "b": Accepted(6.9, 7.1)}
    late: dict[str, Any] = {"accepted": accepted, "kills": [kill(7.5, 1)]}
    assert not judge(evidence(text, outages=[Outage(2.0, 7.0)], **late)).unattributed
    assert judge(evidence(text, **late)).unattributed


def test_a_child_dies_with_its_worker() -> None:
    text = "above 5,4 9 1.0; start a 9 1.1; end a 9 1.9; start a 2 2.5; end a 2 3"
    assert not judge(evidence(text, kills=[kill(2.0, 4)])).unattributed
    assert judge(evidence(text, kills=[kill(2.0, 3)])).unattributed


@pytest.mark.parametrize(
    "text",
    [
        "start a 1 3.5; end a 1 8; start a 2 6; end a 2 7",  # its claim is forgotten
        "start a 1 1.1; end a 1 4; start a 2 6; end a 2 7",  # its end is forgotten
    ],
)
def test_everysec_may_forget_the_last_seconds_before_a_restart_and_always_nothing(text: str) -> None:
    accepted = {"a": Accepted(0.9, 1.0), "b": Accepted(5.6, 5.7)}
    text += "; start b 3 5.8; end b 3 5.9"
    known: dict[str, Any] = {"accepted": accepted, "outages": [Outage(5.0, 5.5)]}
    assert judge(evidence(text, fsync="everysec", **known)).second_starts == {"a restart": 1}
    assert judge(evidence(text, **known)).unattributed


def test_everysec_explains_nothing_that_is_older_or_came_before() -> None:
    accepted = {"a": Accepted(0.9, 1.0), "b": Accepted(9.6, 9.7)}
    known: dict[str, Any] = {"accepted": accepted, "outages": [Outage(9.0, 9.5)], "fsync": "everysec"}
    b = "; start b 3 9.8; end b 3 9.9"
    assert judge(evidence("start a 1 1.1; end a 1 2; start a 2 9.6; end a 2 9.7" + b, **known)).unattributed
    assert judge(evidence("start a 1 8.1; end a 1 8.2; start a 2 8.5; end a 2 8.6" + b, **known)).unattributed


def test_ready_jobs_that_nobody_starts_are_a_stall() -> None:
    verdict = judge(evidence("start a 1 1.1; end a 1 1.5; start b 2 9; end b 2 9.1"))
    assert verdict.stalls == [(1.1, 9.0)]
    assert verdict.holds
    assert "1 stalls (longest wait 7.90 s)" in str(verdict)
    assert verdict.longest == pytest.approx(7.9)


def test_a_silence_with_nothing_to_do_is_none() -> None:
    accepted = {"a": Accepted(0.9, 1.0), "b": Accepted(49.9, 50.0)}
    verdict = judge(evidence("start a 1 1.1; end a 1 1.5; start b 2 51; end b 2 51.1", accepted=accepted))
    assert verdict.holds
    assert verdict.longest == pytest.approx(1.0)


@pytest.mark.parametrize(("unmanned", "stalls"), [([(2.0, 7.0)], 0), ([(2.0, 3.0)], 1), ([], 1)])
def test_time_without_a_worker_is_no_stall(unmanned: list[tuple[float, float]], stalls: int) -> None:
    text = "start a 1 1.1; end a 1 1.5; start b 2 9; end b 2 9.1"
    assert len(judge(evidence(text, unmanned=unmanned)).stalls) == stalls


def test_an_outage_is_no_stall_but_the_time_after_it_is() -> None:
    accepted = {"a": Accepted(0.9, 1.0), "b": Accepted(7.1, 7.2)}
    for started, stalls in ((8.0, 0), (12.5, 1)):
        text = f"start a 1 {started}; end a 1 20; start b 1 {started}; end b 1 20"
        assert len(judge(evidence(text, accepted=accepted, outages=[Outage(2.0, 7.0)])).stalls) == stalls


def test_silence_until_the_end_is_a_stall() -> None:
    accepted = {"a": Accepted(0.9, 1.0), "b": Accepted(1.9, 2.0)}
    verdict = judge(evidence("start a 1 1.1; end a 1 1.5", accepted=accepted))
    assert verdict.stalls == [(2.0, 100.0)]
    assert verdict.wrong == ["lost"]


def test_a_job_whose_worker_was_killed_is_ready_from_then_on() -> None:
    verdict = judge(evidence("start a 1 1.1; start a 2 9; end a 2 9.5", kills=[kill(2.0, 1)]))
    assert verdict.stalls == [(2.0, 9.0)]
    never = judge(evidence("start a 1 1.1", kills=[kill(2.0, 1)]))
    assert never.stalls == [(2.0, 100.0)]


def test_after_a_restart_only_what_was_accepted_since_shows_that_jobs_are_claimed() -> None:
    accepted = {"a": Accepted(0.9, 1.0), "b": Accepted(7.1, 7.2)}
    outages = [Outage(2.0, 7.0)]
    for started in (8.5, 12.1):
        text = f"start a 1 7.01; end a 1 7.1; start b 1 {started}; end b 1 20"
        verdict = judge(evidence(text, accepted=accepted, outages=outages))
        assert verdict.again == [pytest.approx(started - 7.0)]
        assert verdict.holds


def test_a_restart_after_which_nothing_starts_or_is_accepted_is_wrong() -> None:
    outages = [Outage(2.0, 7.0)]
    nothing = judge(evidence("start a 1 1.1; end a 1 1.5", outages=outages))
    assert nothing.wrong == ["no start after Redis was back"]
    accepted = {"a": Accepted(0.9, 1.0), "b": Accepted(7.1, 7.2)}
    silent = judge(evidence("start a 1 1.1; end a 1 1.5", accepted=accepted, outages=outages))
    assert silent.again == []
    assert "no start after Redis was back" in silent.wrong


def test_blows_that_were_not_struck_or_hit_nothing_are_told() -> None:
    text = "start a 1 1.1; end a 1 1.5"
    less = judge(evidence(text, orders=Orders(1, 2, 0), kills=[kill(1.3, 1)]))
    assert "not all was done" in less.wrong
    idle = judge(evidence(text, kills=[kill(9.0, 1)]))
    assert idle.wrong == ["kills that caught nothing"]


def test_percentiles_are_nearest_ranks() -> None:
    assert percentile([], 0.99) == 0.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert percentile([1.0, 9.0], 0.99) == 9.0
