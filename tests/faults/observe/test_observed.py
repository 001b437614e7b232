"""A real Prometheus beside workers that are killed and restarted: its totals are the ledger's, its alerts are true."""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults.proofs.observed import lettered, observed, restarted


async def test_what_prometheus_has_seen_is_what_the_ledger_says(tmp_path: Path) -> None:
    found = await observed(tmp_path, 6, random.Random(3), max_jobs=200)
    assert found.faults == []
    assert found.accepted["send"] > 200


async def test_restarts_are_silent_and_a_kill_is_one_alert(tmp_path: Path) -> None:
    found = await restarted(tmp_path, 2, random.Random(4))
    assert found.clean == []
    assert [each["alertname"] for each in found.killed] == ["OutlastWorkerDied"]


async def test_each_dead_letter_fires_the_first_and_the_one_after_a_restart(tmp_path: Path) -> None:
    assert await lettered(tmp_path, random.Random(5)) == [["OutlastDeadLetters"], [], ["OutlastDeadLetters"]]
