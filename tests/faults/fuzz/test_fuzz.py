"""The fuzz targets for some seconds each; `make proofs PROOFS=fuzz` runs each for ten minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.fuzz.targets import TARGETS, fuzz


@pytest.mark.parametrize("target", TARGETS)
async def test_no_input_hangs_raises_a_raw_error_or_loses_a_job(tmp_path: Path, target: str) -> None:
    found = await fuzz(target, tmp_path, seconds=6, seed_=1)
    assert (found.inputs > 0, found.faults) == (True, {})
