"""A short storm of kills, and the checker's own eyes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kill_storm import check, storm, unpack
from tests.support.ledger import Entry


async def test_nothing_is_lost_and_every_second_start_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAST_FAULTS_URL", f"sqlite:{tmp_path}/jobs.db")
    verdict = check(await storm(tmp_path, jobs=600, kills=11, seed=7))
    print(verdict)
    assert (verdict.jobs, verdict.kills) == (600, 11)
    assert verdict.clean, verdict


def test_the_kept_ledger_of_200_kills_is_clean() -> None:
    kept = Path(__file__).parent / "kill_storm.ledger.gz"
    verdict = check(unpack(kept))
    assert (verdict.jobs, verdict.kills) == (20_000, 200)
    assert verdict.clean, verdict


def ledger(*rows: tuple[str, str, int, float]) -> list[Entry]:
    return [Entry(*row) for row in rows]


def test_the_checker_sees_what_is_wrong() -> None:
    verdict = check(
        ledger(
            ("enqueued", "fine", 1, 0.0),
            ("enqueued", "orphan", 1, 0.0),
            ("enqueued", "lost", 1, 0.0),
            ("enqueued", "twice", 1, 0.0),
            ("start", "fine", 10, 1.0),
            ("end", "fine", 10, 1.1),
            ("start", "orphan", 10, 1.2),
            ("start", "lost", 10, 1.2),
            ("kill", "10,11", 1, 2.0),
            ("start", "orphan", 20, 2.5),
            ("end", "orphan", 20, 2.6),
            ("start", "twice", 20, 3.0),
            ("start", "twice", 21, 3.1),
            ("end", "twice", 21, 3.2),
            ("start", "phantom", 20, 4.0),
            ("dead", "mail.x", 1, 5.0),
        )
    )
    assert (verdict.lost, verdict.phantom, verdict.dead) == (["lost"], ["phantom"], ["mail.x"])
    assert (verdict.unexplained, verdict.delays) == (["twice"], [0.5])
    assert not verdict.clean
