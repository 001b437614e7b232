"""The benchmarks still run: a hundredth of the work, ours only, written to a folder of the test."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
EVERYWHERE = {"single", "bulk", "gather", "drain", "latency", "idle"}


async def quick(folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Run the benchmarks, the shortest way; return the rows of the results, and the page."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.run", "--quick", "--peers", "none", "--no-plot", "--out", str(folder / "out"), *options),
        cwd=ROOT,
        env={**os.environ, "OUTLAST_BENCH_HOME": str(folder / "home")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    results = msgspec.json.decode((folder / "out/benchmarks/results.json").read_bytes())
    assert results["errors"] == []
    assert not list((folder / "home").glob("run-*")), "the run's own folder is left behind"
    return results["rows"], (folder / "out/docs/benchmarks.md").read_text()


def measured(rows: dict[str, Any], system: str) -> set[str]:
    return {name for name, row in rows.items() if row["samples"].get(system)}


@pytest.mark.timeout(400)
async def test_a_quick_run_measures_every_row_on_a_file_the_guards_and_the_toolkit(tmp_path: Path) -> None:
    rows, page = await quick(tmp_path, "--store", "sqlite")
    assert measured(rows, "outlast") == EVERYWHERE | {"http", "busy", "deep", "import", "guards", "toolkit"}
    assert rows["guards"]["samples"]["outlast"][0].keys() >= {"timeout", "retry", "breaker", "bulkhead", "all"}
    assert page.count("| drain by one worker process, jobs/s |") == 1
    assert "| all five | " in page
    for row in ("hit in an SQLite file", "decision, sliding window, CPU", "acquire and release, 32 at a time"):
        assert f"| {row} | " in page
    stampede = rows["toolkit"]["samples"]["outlast"][0]
    assert stampede["stampede, computed"] == 1
    assert stampede["stampede, misses"] == 40


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("store", "more"),
    [("redis", {"deep", "memory", "two", "kill"}), ("rabbitmq", set[str]())],
    ids=["redis", "rabbitmq"],
)
async def test_a_quick_run_measures_every_row_on_a_server(tmp_path: Path, store: str, more: set[str]) -> None:
    rows, page = await quick(tmp_path, "--store", store)
    assert measured(rows, f"outlast-{store}") == {f"{store} {each}" for each in EVERYWHERE | more}
    assert rows[f"{store} drain"]["samples"][f"floor-{store}"]
    assert page.count("| drain by one worker process, jobs/s |") == 1
    assert ("| a job whose worker was killed is run again after, s | not within 5 |" in page) == (store == "redis")


@pytest.mark.timeout(400)
async def test_a_quick_run_of_redis_beside_memcached_writes_its_page(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.run", "--quick", "--only", "toolkit-stores", "--out", str(tmp_path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    page = (tmp_path / "docs/toolkit/redis-or-memcached.md").read_text()
    assert page.count("| hit, 1 KiB | ") == 2
    assert "| entries left after a stop and a start, % | 100 | 0 |" in page
    assert "| steps of 512 sets that were refused | 0 | 0 |" in page
    kept = (ROOT / "docs/toolkit/redis-or-memcached.md").read_text()
    assert page.partition("Medians")[0] == kept.partition("Medians")[0], "the page in docs is the one that it writes"
