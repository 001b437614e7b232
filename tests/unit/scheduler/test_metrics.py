"""What is counted of schedules: each tick once, whichever process took it."""

from __future__ import annotations

import asyncio

from outlast import Outlast
from tests.support.counts import counting, value_of
from tests.support.scheduling import shift

TICKS, ALARMS = "outlast_schedule_ticks_total", "outlast_schedule_alarms_total"


def minutely(name: str, **options: object) -> Outlast:
    app = Outlast(name)

    @app.schedule("* * * * *", name="tick", **options)  # type: ignore[arg-type]
    @app.job
    async def work() -> None: ...

    return app


async def test_fired_and_missed_ticks_are_counted_as_the_record_has_them() -> None:
    app = minutely("ticking", misfire="latest")
    async with shift(app) as hand:
        await hand.fire()
        assert value_of(TICKS, "ticking", "tick", "fired") == value_of(TICKS, "ticking", "tick", "skipped") == 0
        assert value_of(ALARMS, "ticking", "tick") == 0
        with counting(TICKS, "ticking", **{"tick,fired": 2, "tick,skipped": 9}):
            hand.testing.advance(60)
            await hand.fire()
            await hand.testing.drain()
            hand.testing.advance(600)
            await hand.fire()
        record = await hand.record("tick")
        assert (record.fired, record.skipped) == (2, 9)


async def test_of_many_processes_one_counts_a_tick() -> None:
    async with shift(minutely("contested")) as hand:
        await hand.fire()
        hand.testing.advance(60)
        with counting(TICKS, "contested", **{"tick,fired": 1}):
            await asyncio.gather(*(hand.another().step() for _ in range(5)))


async def test_an_alarm_is_counted_when_it_is_told() -> None:
    app = Outlast("failing")

    @app.schedule("* * * * *", name="tick")
    @app.job(key=lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    async def work() -> None: ...

    async with shift(app) as hand:
        with counting(ALARMS, "failing", tick=1):
            hand.testing.advance(60)
            await hand.fire()
            await hand.scheduler.step()
        assert len(hand.alarms) == 1
