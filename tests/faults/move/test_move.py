"""`outlast move` killed at every step and at any moment, while workers of both stores run: judged by a ledger.

`python -m tests.faults.move.test_move KILLS` makes as many random kills as told, and prints what came of them.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from outlast.core.codec import encode_value
from outlast.core.message import Message
from outlast.core.policy import DEFAULTS, Priority
from outlast.core.settlement import ACCEPTED
from outlast.core.store.control import Pause
from outlast.core.store.records import Query
from tests.support.ledger import Ledger
from tests.support.polling import until
from tests.support.supervise import supervised

TARGET = "tests.faults.kill.app:app"
ROUND = 600
"""Jobs that come to the old store before each move: more than two of its batches."""
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")


class Scene:
    """Two stores, a worker on each, and a ledger that both write to."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ledger = Ledger(folder / "ledger")
        self.log = folder / "log"
        self.paths = (folder / "old.db", folder / "new.db")
        self.urls = tuple(f"sqlite:{path}" for path in self.paths)
        self.names: list[str] = []
        self.clock = SystemClock()

    def environ(self, url: str) -> dict[str, str]:
        """What a worker of this store is told."""
        return {"OUTLAST_FAULTS_URL": url, "OUTLAST_TEST_LEDGER": str(self.ledger.path)}

    async def opened(self, path: Path) -> SqliteStore:
        """Return the store of a file."""
        store = SqliteStore(str(path), clock=self.clock, max_body=DEFAULTS.max_body)
        await store.open()
        return store

    def message(self) -> Message:
        """Return one more job, of any sort."""
        number, now = len(self.names), self.clock.time()
        name = f"job-{number}"
        self.names.append(name)
        return Message(
            id=f"default.{name}",
            queue="default",
            kind="brief",
            args=encode_value({"name": name, "seconds": 0.0}),
            enqueued_at=now,
            run_at=now + self.chance.choice((0.0, 0.0, 1.0, 3.0)),
            priority=self.chance.choice(PRIORITIES),
            key=self.chance.choice((None, "a", "b")),
        )

    async def refill(self, old: SqliteStore) -> None:
        """Bring jobs to the old store, and let its worker take them: it competes with the move."""
        answers = await old.publish([self.message() for _ in range(ROUND)])
        assert answers == [ACCEPTED] * ROUND
        await old.apply([Pause("default", on=False)])

    def move(self, *more: str) -> subprocess.Popen[bytes]:
        """Start the real command."""
        words = ["move", "--from", self.urls[0], "--to", self.urls[1], "--yes", *more]
        return subprocess.Popen([sys.executable, "-m", "outlast", *words], stdout=subprocess.DEVNULL)

    def die(self, steps: int) -> int:
        """Run a move that dies after so many steps; return its exit code."""
        words = [sys.executable, "-m", "tests.faults.move.dying_move", *self.urls, str(steps)]
        return subprocess.run(words, check=False, capture_output=True, timeout=60).returncode

    def workers(self, stack: ExitStack) -> None:
        """Run a worker on each store."""
        for url in self.urls:
            stack.enter_context(supervised(TARGET, self.environ(url), self.log, processes=1))

    async def finish(self, old: SqliteStore, new: SqliteStore) -> None:
        """Move until nothing is left, and wait until all has run."""
        process = self.move("--wait")
        assert await asyncio.to_thread(process.wait, 120) == 0
        unfinished = Query(states=("waiting", "scheduled", "ready", "running", "parked"))
        assert await old.count(unfinished) == {}

        async def none_left() -> bool:
            return await new.count(unfinished) == {}

        await until(none_left, "nothing is left to be done", within=120)

    def judge(self) -> Counter[int]:
        """Return how often jobs ran: how many ran so many times."""
        ended = self.ledger.names("end")
        return Counter(ended.get(name, 0) for name in self.names)


async def ran(scene: Scene, kills: int, *, dying: bool) -> Counter[int]:
    """Kill that many moves, finish one, and return how often jobs ran."""
    old, new = await scene.opened(scene.paths[0]), await scene.opened(scene.paths[1])
    try:
        with ExitStack() as stack:
            await scene.refill(old)
            scene.workers(stack)
            for kill in range(kills):
                await scene.refill(old)
                if dying:
                    assert await asyncio.to_thread(scene.die, kill + 1) in (-9, 0, 1)
                else:
                    await random_kill(scene, old)
            await scene.finish(old, new)
    finally:
        await old.close()
        await new.close()
    return scene.judge()


async def random_kill(scene: Scene, old: SqliteStore) -> None:
    """Start a move, let it begin, and kill it at any moment of its work."""
    process = scene.move()
    try:

        async def begun() -> bool:
            return process.poll() is not None or (await old.stats(["default"]))["default"].paused

        await until(begun, "the move begins", within=60)
        await asyncio.sleep(scene.chance.uniform(0, 0.25))
    finally:
        process.kill()
        process.wait()


async def test_a_move_that_dies_after_any_step(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 1)
    assert await ran(scene, 12, dying=True) == {1: len(scene.names)}


@pytest.mark.parametrize("seed", [2])
async def test_a_move_that_is_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    scene = Scene(tmp_path, seed)
    assert await ran(scene, 6, dying=False) == {1: len(scene.names)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder), int(time.time()))
        counts = asyncio.run(ran(scene, int(sys.argv[1]), dying=False))
        print(f"{sys.argv[1]} kills, {len(scene.names)} jobs; ran so many times: {dict(counts)}")
