"""Jobs that harm the worker that runs them, under a real supervisor: what becomes of them, and of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.hostile.judge import BATCHES, judge
from tests.faults.proofs.hostile import table


@pytest.mark.parametrize("ways", BATCHES, ids=[batch[0] for batch in BATCHES])
async def test_each_ends_in_its_named_state_and_its_neighbours_succeed(tmp_path: Path, ways: Sequence[str]) -> None:
    verdicts = await judge(ways, f"sqlite:{tmp_path}/jobs.db", tmp_path)
    print(table(verdicts), (tmp_path / "log").read_text(errors="replace")[:100_000], sep="\n")
    assert not [verdict for verdict in verdicts if verdict.faults]
