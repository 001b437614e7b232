"""Each way to store a job refuses arguments that would arrive changed, and stores nothing."""

from __future__ import annotations

import pytest

from outlast import Constant, Context, InvalidArguments, JobFailed, Outlast, Retry, Settings
from outlast.scheduler.planned import Planned
from tests.support.argument_types import Event, Paid

SAID = r"take: events\[0\]: a Paid would arrive as an Event"
LOST: list[Event] = [Paid(id=1, amount=999)]

shop = Outlast("shop", settings=Settings(url="memory:"))


@shop.job(unique=True)
async def take(events: list[Event]) -> None: ...


@shop.job(retry=Retry(attempts=1, backoff=Constant(0)))
async def follows(ctx: Context) -> None:
    ctx.enqueue(take, LOST)


@shop.schedule(every="1h", name="hourly", args=(LOST,))
@shop.job
async def scheduled(events: list[Event]) -> None: ...


async def test_enqueue_and_message_and_options() -> None:
    with shop.testing() as t:
        for job in (take, take.with_options(unique="a"), take.with_options(delay=5)):
            with pytest.raises(InvalidArguments, match=SAID):
                await job.enqueue(LOST)
        with pytest.raises(InvalidArguments, match=SAID):
            await shop.enqueue_many(take.message(each) for each in ([Event(id=1)], LOST))
        t.assert_not_enqueued()


async def test_a_follow_up_fails_its_job() -> None:
    with shop.testing() as t:
        job = await follows.enqueue()
        await t.drain()
        with pytest.raises(JobFailed, match=SAID):
            await job.result()
        t.assert_not_enqueued(take)


def test_a_schedule_has_a_fault() -> None:
    planned = Planned(shop.registry.schedules["hourly"], shop.registry, shop.composer.message)
    assert planned.fault.startswith("scheduled: events[0]: a Paid would arrive as an Event")
