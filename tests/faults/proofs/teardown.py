"""Kills workers while they tear down, at so many random moments: no job is lost.

`python -m tests.faults.proofs.teardown [--rounds 200] [--seed 1]`
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.faults.kill.scene import Scene
from tests.faults.kill.teardown import kill_while_tearing_down
from tests.support.origin import origin


async def _main(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="teardown-") as folder:
        scene = Scene(Path(folder))
        await scene.app.runtime()
        toll = await kill_while_tearing_down(scene, rounds=options.rounds, seed=options.seed)
        await scene.app.close()
    print(
        f"{toll.rounds} stops, {toll.hits} workers killed in them, {toll.jobs} jobs: "
        f"{toll.lost} lost, {toll.too_often} started more often than there were stops"
    )
    return 1 if toll.lost or toll.too_often else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(origin(given.seed), flush=True)
    sys.exit(asyncio.run(_main(given)))
