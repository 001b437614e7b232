"""Large arguments and results whose processes are killed: a short form of the proof `claims`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.proofs.claims import prove
from tests.support.objects import OBJECT_PLACES, ObjectPlaceCase, credentials
from tests.support.servers.s3_server import shared_s3

PLACES = [each for each in OBJECT_PLACES if each.name != "memory"]


@pytest.mark.parametrize("where", PLACES, ids=[each.name for each in PLACES])
async def test_no_large_job_is_lost_and_no_object_is_left(where: ObjectPlaceCase, tmp_path: Path) -> None:
    with credentials(shared_s3().environment if where.name == "s3" else {}):
        verdict = await prove(
            f"sqlite:{tmp_path}/jobs.db", where.url(tmp_path), tmp_path, jobs=60, clients=2, between=1, kills=2
        )
    print(verdict)
    assert verdict.sound, verdict
    assert verdict.between == 5
