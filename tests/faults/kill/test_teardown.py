"""A worker that is killed while it tears down loses nothing."""

from __future__ import annotations

from tests.faults.kill.scene import Scene
from tests.faults.kill.teardown import kill_while_tearing_down


async def test_a_worker_killed_at_random_moments_of_its_stop_loses_no_job(scene: Scene) -> None:
    toll = await kill_while_tearing_down(scene, rounds=6, seed=1)
    print(toll)
    assert toll.hits
    assert (toll.lost, toll.too_often) == (0, 0)
