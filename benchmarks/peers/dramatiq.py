"""Dramatiq on Redis: its own middleware, deep prefetch (an environment variable of its own)."""

from __future__ import annotations

import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks import counter
from benchmarks.peers.blocking import Blocking

__all__ = ["broker", "client", "send"]

broker = RedisBroker(url=os.environ["BENCH_REDIS"])
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name="send")
def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        time.sleep(counter.NAP)


class DramatiqClient(Blocking):
    """Dramatiq blocks."""

    def enqueue(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return send.send(user_id, email)


def client() -> DramatiqClient:
    """Return what enqueues."""
    return DramatiqClient()
