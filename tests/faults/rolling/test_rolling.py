"""Rolling deploys of two versions of an app under load: nothing is lost, run twice or has an attempt burned."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.proofs.rolling import roll


async def test_four_swaps_lose_nothing_and_burn_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAST_ROLLING_URL", f"sqlite:{tmp_path}/jobs.db")
    monkeypatch.setenv("OUTLAST_TEST_LEDGER", str(tmp_path / "ledger"))
    figures = await roll(tmp_path, swaps=4, processes=1)
    print(figures)
    assert (figures.lost, figures.twice, figures.burned) == (0, 0, 0), figures
    assert figures.crossed > 0
    assert figures.parked > 0
