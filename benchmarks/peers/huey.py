"""huey's SqliteHuey (`fsync=True` sets synchronous=FULL) and RedisHuey; no results kept; no bulk call."""

from __future__ import annotations

import os
import time

from huey import RedisHuey, SqliteHuey

from benchmarks import counter
from benchmarks.peers.blocking import Blocking

__all__ = ["client", "queue", "send"]

if "BENCH_REDIS" in os.environ:
    queue = RedisHuey("bench", url=os.environ["BENCH_REDIS"], results=False)
else:
    queue = SqliteHuey("bench", filename=os.environ["BENCH_STORE"], fsync=True, results=False)


@queue.task(name="send")
def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        time.sleep(counter.NAP)


class HueyClient(Blocking):
    """huey blocks."""

    async def close(self) -> None:
        """End the threads."""
        await super().close()
        if "BENCH_REDIS" not in os.environ:
            queue.storage.close()

    def enqueue(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return send(user_id, email)


def client() -> HueyClient:
    """Return what enqueues."""
    return HueyClient()
