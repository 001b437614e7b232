"""Schedulers that are killed while they fire: each tick is published exactly once. The long run: schedules/run.py."""

from __future__ import annotations

from tests.faults.proofs.schedules import prove


def test_each_tick_is_published_once_whoever_is_killed() -> None:
    verdict = prove(ticks=1000, kills=5, processes=3, schedules=20, seed=7)
    assert verdict.sound, verdict
    assert verdict.ticks >= 1000
    assert verdict.kills >= 8
