"""The conformance suite once more, on a Cluster of three masters, as the user that docs/redis.md permits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.redis_acl import PASSWORD, USER, setuser
from tests.support.redis_fleet import cluster

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
def test_the_conformance_suite_runs_on_a_cluster(tmp_path: Path) -> None:
    with cluster(tmp_path, masters=3) as nodes:
        for each in nodes:
            assert each.ask(*setuser("*", "+cluster|slots", "+asking")) == b"OK"
        url = f"redis+cluster://{USER}:{PASSWORD}@127.0.0.1:{nodes[1].port}"
        suite = ("tests/conformance", "-k", "redis", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'suite'}")
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *suite],
            cwd=ROOT,
            env={**os.environ, "OUTLAST_TEST_REDIS_URL": url},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
        assert sum(len(each.ask("KEYS", "*born")) for each in nodes) > 100, "it was this Cluster that was used"
