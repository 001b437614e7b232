"""Celery on Redis or RabbitMQ (with confirms): threads, deep prefetch, late acknowledgement, no results, no events."""

from __future__ import annotations

import os
import time

from celery import Celery

from benchmarks import counter
from benchmarks.peers.blocking import Blocking

__all__ = ["app", "client", "send"]

AMQP = os.environ.get("BENCH_AMQP")
app = Celery("bench", broker=AMQP or os.environ["BENCH_REDIS"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1000,
    worker_send_task_events=False,
    task_send_sent_event=False,
    worker_disable_rate_limits=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True} if AMQP else {},
)


@app.task(name="send")
def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        time.sleep(counter.NAP)


class CeleryClient(Blocking):
    """Celery blocks."""

    def enqueue(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return send.delay(user_id, email)


def client() -> CeleryClient:
    """Return what enqueues."""
    return CeleryClient()
