"""Jobs that end the worker that runs them, under a real supervisor: who is blamed, and what becomes of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.hostile.app import JOBS
from tests.faults.hostile.judge import see_what_becomes_of


@pytest.mark.parametrize("way", JOBS)
async def test_the_job_that_did_it_is_blamed_and_its_neighbours_succeed(tmp_path: Path, way: str) -> None:
    await see_what_becomes_of(way, f"sqlite:{tmp_path}/jobs.db", tmp_path)
