"""What a settlement publishes before the message of its job is acknowledged; pure."""

from __future__ import annotations

from random import Random

from msgspec import Struct

from outlast.brokers.rabbitmq.buckets import BUCKETS, DELAYS, bucket_of
from outlast.brokers.rabbitmq.declared import dead_queue
from outlast.brokers.rabbitmq.job_form import TakenJob, dead_properties, job_properties
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.properties import MessageProperties
from outlast.core.message import Message
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement

__all__ = ["SettlingPlan", "again", "first", "may_requeue", "plan_of"]


class SettlingPlan(Struct, frozen=True):
    """What to publish, confirmed, before the acknowledgement. requeue: the server takes the message back instead."""

    messages: tuple[AmqpMessage, ...] = ()
    requeue: bool = False


_ACK = SettlingPlan()
_REQUEUE = SettlingPlan(requeue=True)


def plan_of(settlement: Settlement, job: TakenJob, now: float, rng: Random) -> SettlingPlan:
    """Return the plan of a settlement of a job that was taken. now: wall time in seconds."""
    match settlement:
        case Finish():
            then = tuple(first(message, now, rng) for message in settlement.then)
            if settlement.state == "dead":
                return SettlingPlan((*then, _dead(settlement, job)))
            return SettlingPlan(then) if then else _ACK
        case Reschedule():
            attempt, crashes = settlement.attempt, settlement.crashes
            begun = job.begun or settlement.begun
            retry = again(job, settlement.at, now, rng, attempt=attempt, crashes=crashes, begun=begun)
            return SettlingPlan((*(first(message, now, rng) for message in settlement.then), retry))
        case Release(at=None) if may_requeue(job):
            return _REQUEUE
        case Release():
            at = now if settlement.at is None else settlement.at
            return SettlingPlan((again(job, at, now, rng, begun=job.begun or settlement.begun),))
        case Park():
            return SettlingPlan((again(job, settlement.at, now, rng),))


def may_requeue(job: TakenJob) -> bool:
    """Tell whether the server may take a job back as it is, at the front of its queue.

    It counts the return, which counts as a crash here: a second one would make the job suspect. It also makes the job
    one that has begun, so that it would not expire any more.
    """
    return not job.crashes and job.message.expires_at is None


def first(message: Message, now: float, rng: Random) -> AmqpMessage:
    """Return a new job as it is published."""
    return _towards(message.queue, message.run_at - now, bytes(message.args), rng, job_properties(message))


def again(
    job: TakenJob,
    at: float,
    now: float,
    rng: Random,
    *,
    attempt: int | None = None,
    crashes: int | None = None,
    begun: bool | None = None,
) -> AmqpMessage:
    """Return a job that runs again at `at` (wall time), as it is published; None keeps what it was taken with."""
    delay = at - now
    properties = job_properties(
        job.message,
        attempt=job.attempt if attempt is None else attempt,
        crashes=job.crashes if crashes is None else crashes,
        begun=job.begun if begun is None else begun,
        not_before=at if delay > DELAYS[-1] else 0.0,
    )
    return _towards(job.message.queue, delay, bytes(job.message.args), rng, properties)


def _towards(queue: str, delay: float, body: bytes, rng: Random, properties: MessageProperties) -> AmqpMessage:
    length = bucket_of(delay, rng)
    return AmqpMessage(BUCKETS[length] if length else "", queue, body, properties)


def _dead(settlement: Finish, job: TakenJob) -> AmqpMessage:
    reason = settlement.reason or settlement.state
    properties = dead_properties(job.message, settlement.state, reason, job.attempt, settlement.error)
    return AmqpMessage("", dead_queue(job.message.queue), bytes(job.message.args), properties)
