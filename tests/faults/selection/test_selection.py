"""The proofs of tests/faults/selection in small, and that their judges can fail."""

from __future__ import annotations

from pathlib import Path

from outlast.core.limits import Gcra
from tests.faults.proofs.concurrency_limit import alone, judge
from tests.faults.proofs.rates import _over, rates
from tests.faults.proofs.tenants import tenants
from tests.support.ledger import Entry


async def test_a_limit_of_one_holds_while_workers_are_killed(tmp_path: Path) -> None:
    verdict = await alone(tmp_path, kills=8, gap=0.4)
    print(verdict)
    assert verdict.clean, verdict
    assert verdict.looks > 10
    assert verdict.starts >= verdict.jobs > 100


def test_two_runs_together_are_seen_and_one_after_a_kill_is_none() -> None:
    first, second = Entry("start", "k", 1, 0.0), Entry("start", "k", 2, 1.0)
    assert judge([first, second])[0] == 1
    assert judge([first, Entry("end", "k", 1, 0.5), second]) == (0, 1.0, 2)
    assert judge([first, Entry("killed", "1", 9, 0.5), second])[0] == 0
    assert judge([first, Entry("end", "other", 1, 0.5), second])[0] == 1


def test_four_processes_keep_one_rate(tmp_path: Path) -> None:
    verdict = rates(tmp_path, jobs=8000, rate="4000/s", burst=50)
    print(verdict)
    assert verdict.admitted == 8000
    assert verdict.over == 0


def test_too_many_are_counted() -> None:
    gcra = Gcra(1000, 3)
    assert _over(gcra, [[1, 10_000, 3, 0], [2, 11_000, 1, 0], [3, 14_000, 3, 0]]) == 0
    assert _over(gcra, [[1, 10_000, 3, 0], [2, 11_000, 2, 0]]) == 1


async def test_a_flood_of_one_tenant_leaves_the_other_its_turn(tmp_path: Path) -> None:
    verdict = await tenants(str(tmp_path / "jobs.db"), flood=3000)
    assert verdict.claims == 1
    assert verdict.turns <= 11
