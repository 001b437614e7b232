"""An outage of a dependency, two workers and their jobs: none is burned, others run on, all are done after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.proofs.outage import Plan, prove
from tests.support.servers.redis_cluster import shared_cluster
from tests.support.stores import namespace_of, redis_url


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of the test's own."""
    if request.param == "cluster":
        return f"{shared_cluster()}?namespace={namespace_of(tmp_path)}"
    if request.param == "redis":
        return f"{redis_url()}?namespace={namespace_of(tmp_path)}"
    return f"sqlite:{tmp_path}/jobs.db"


async def test_an_outage_burns_no_attempt_and_stops_no_other_job(url: str, tmp_path: Path) -> None:
    plan = Plan(jobs=60, others=60, seconds=4, interval=0.5, lease=2, ramp=1, call=0.01, concurrency=8)
    verdict = await prove(url, tmp_path, plan)
    print(verdict, (tmp_path / "log").read_text())
    assert verdict.sound, verdict
    assert verdict.probes > 1
    assert verdict.twice == 0
