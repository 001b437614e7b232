"""Four processes take from the same limits, a short form of the proof `limits`: none admits too much or too little."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.proofs.limits import _judged, limits
from tests.support.stores import namespace_of, redis_url


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_four_processes_admit_what_one_limit_allows(store: str, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'kit.db'}" if store == "sqlite" else f"{redis_url()}?namespace={namespace_of(tmp_path)}"
    for verdict in limits(url, tmp_path, rate="300/day", decisions=3600):
        assert verdict.decisions == 1200
        assert verdict.admitted >= 300
        assert verdict.over == 0
        assert verdict.used >= 0.99


@pytest.mark.parametrize("algorithm", ["gcra", "sliding", "fixed"])
def test_the_judge_sees_one_call_too_many(algorithm: str) -> None:
    calls = [[1000 + number / 100, 1000 + number / 100 + 0.001] for number in range(100)]
    fits = _judged(algorithm, "100/hour", 300, calls)
    assert (fits.over, fits.used) == (0, 1.0) if algorithm != "gcra" else fits.over == 0
    beyond = _judged(algorithm, "100/hour", 300, [*calls, [1000.5, 1000.6], [1000.6, 1000.7]])
    assert beyond.over > 0
    scarce = _judged(algorithm, "200/hour", 300, calls)
    assert scarce.used < 0.6
