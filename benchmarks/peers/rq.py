"""RQ: its SimpleWorker, which does not fork for each job; no results kept."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from redis import Redis
from rq import Queue, SimpleWorker

from benchmarks import counter
from benchmarks.peers.blocking import Blocking

__all__ = ["client", "queue", "send"]

queue = Queue("bench", connection=Redis.from_url(os.environ["BENCH_REDIS"]))


def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        time.sleep(counter.NAP)


class RqClient(Blocking):
    """RQ blocks."""

    def enqueue(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return queue.enqueue(send, user_id, email, result_ttl=0)

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue in one pipeline."""
        return queue.enqueue_many([Queue.prepare_data(send, row, result_ttl=0) for row in batch])


def client() -> RqClient:
    """Return what enqueues."""
    return RqClient()


if __name__ == "__main__":
    worker = SimpleWorker([queue], connection=queue.connection, log_job_description=False)
    worker.work(logging_level="WARNING", with_scheduler=True)
