"""The benchmarks still run: a hundredth of the work, ours only, written to a folder of the test."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.timeout(400)
async def test_a_quick_run_measures_every_row_of_ours_and_writes_the_page(tmp_path: Path) -> None:
    arguments = ["--quick", "--peers", "none", "--no-plot", "--out", str(tmp_path / "out")]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.run"),
        *arguments,
        cwd=ROOT,
        env={**os.environ, "OUTLAST_BENCH_HOME": str(tmp_path / "home")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    results = msgspec.json.decode((tmp_path / "out/benchmarks/results.json").read_bytes())
    assert results["errors"] == []
    rows = results["rows"]
    measured = {name for name, row in rows.items() if row["samples"].get("outlast")}
    assert measured == {
        "single",
        "bulk",
        "gather",
        "drain",
        "http",
        "latency",
        "busy",
        "idle",
        "deep",
        "import",
        "guards",
    }
    served = {name for name, row in rows.items() if row["samples"].get("outlast-redis")}
    both = {"single", "bulk", "gather", "drain", "latency", "idle", "deep"}
    assert served == {f"redis {each}" for each in (*both, "memory", "two", "kill")}
    assert rows["redis drain"]["samples"]["floor-redis"]
    assert rows["guards"]["samples"]["outlast"][0].keys() >= {"timeout", "retry", "breaker", "bulkhead", "all"}
    page = (tmp_path / "out/docs/benchmarks.md").read_text()
    assert page.count("| drain by one worker process, jobs/s |") == 3
    assert "| all five | " in page
    assert "| a job whose worker was killed is run again after, s | not within 5 |" in page
    assert not list((tmp_path / "home").glob("run-*")), "the run's own folder is left behind"
