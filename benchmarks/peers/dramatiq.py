"""Dramatiq on Redis or RabbitMQ (with confirms): its own middleware, deep prefetch (a variable of its own)."""

from __future__ import annotations

import os
import time

import dramatiq

from benchmarks import counter
from benchmarks.peers.blocking import Blocking

__all__ = ["broker", "client", "send"]

if amqp := os.environ.get("BENCH_AMQP"):
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=amqp, confirm_delivery=True)
else:
    from dramatiq.brokers.redis import RedisBroker

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
