"""The loop that fires schedules, step by step, by a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import pytest

from outlast import ConfigurationError, JobRouter, Outlast, Redacted, StoreUnavailable
from outlast.core.schedule import EditSchedule, PauseSchedule, RunSchedule, Spec
from outlast.core.store.store import Store
from outlast.core.ticking import CLOCK_SET_BACK, ORPHANED, STALE
from outlast.scheduler.loop import AGAIN, RECALL
from tests.support.polling import until
from tests.support.scheduling import Direct, scheduler_of, shift

T = TypeVar("T")

# The tests' clock begins at 2023-11-14T22:13:20Z.


def minutely(**options: object) -> Outlast:
    app = Outlast("shop")

    @app.schedule("* * * * *", name="tick", **options)  # type: ignore[arg-type]
    @app.job
    async def work() -> None: ...

    return app


async def test_a_tick_is_fired_once_whoever_is_first() -> None:
    async with shift(minutely()) as hand:
        assert await hand.fire() == []
        hand.testing.advance(40)
        assert await hand.fire() == ["tick@2023-11-14T22:14:00Z"]
        other = hand.another()
        await other.step()
        assert await hand.fire() == []
        (job,) = await hand.testing.drain()
        assert (job.state, job.run_at) == ("succeeded", 1_700_000_040.0)


async def test_of_many_at_the_same_moment_one_fires() -> None:
    async with shift(minutely()) as hand:
        await hand.fire()
        hand.testing.advance(40)
        await asyncio.gather(*(hand.another().step() for _ in range(5)))
        assert (await hand.record("tick")).fired == 1
        assert len(await hand.testing.drain()) == 1


async def test_it_says_when_to_look_again() -> None:
    async with shift(minutely()) as hand:
        assert 15 <= await hand.scheduler.step() <= 15.05
        hand.testing.advance(39)
        assert 1 <= await hand.scheduler.step() <= 1.05


@pytest.mark.parametrize(
    ("misfire", "fired", "skipped"),
    [
        ("skip", [], 3),
        ("latest", ["22:16:00"], 2),
        ("all", ["22:14:00", "22:15:00", "22:16:00"], 0),
    ],
)
async def test_what_was_missed(misfire: str, fired: list[str], skipped: int) -> None:
    app = Outlast("shop")
    app.schedule("14-16 22 * * *", misfire=misfire, name="tick")(app.job(kind="work")(lambda: None))  # type: ignore[arg-type]
    async with shift(app) as hand:
        await hand.fire()
        hand.testing.advance("1h")
        assert await hand.fire() == [f"tick@2023-11-14T{at}Z" for at in fired]
        assert (await hand.record("tick")).skipped == skipped


async def test_skip_leaves_out_ticks_while_the_run_before_goes_on() -> None:
    async with shift(minutely(overlap="skip")) as hand:
        await hand.fire()
        hand.testing.advance(40)
        assert len(await hand.fire()) == 1
        hand.testing.advance(60)
        assert await hand.fire() == []
        await hand.testing.drain()
        hand.testing.advance(60)
        assert await hand.fire() == ["tick@2023-11-14T22:16:00Z"]
        assert (await hand.record("tick")).skipped == 1


async def test_queue_lets_them_run_one_after_another() -> None:
    async with shift(minutely(overlap="queue")) as hand:
        await hand.fire()
        for _ in range(3):
            hand.testing.advance(60)
            await hand.fire()
        record = await hand.record("tick")
        assert (record.fired, len(record.backlog)) == (1, 2)
        assert await hand.scheduler.step() <= 1.05
        for left in (1, 0, 0):
            await hand.testing.drain()
            await hand.fire()
            assert len((await hand.record("tick")).backlog) == left
        record = await hand.record("tick")
        assert (record.fired, record.skipped) == (3, 0)


async def test_a_pause_a_run_and_an_edit() -> None:
    async with shift(minutely()) as hand:
        await hand.fire()
        await hand.amend(PauseSchedule("tick"))
        hand.testing.advance("10m")
        assert await hand.fire() == []
        await hand.amend(RunSchedule("tick"))
        assert await hand.fire() == ["tick@2023-11-14T22:23:20Z.asked"]
        await hand.amend(PauseSchedule("tick", on=False))
        assert await hand.fire() == []
        await hand.amend(EditSchedule("tick", Spec(every="1s", misfire="all")))
        hand.testing.advance(2)
        assert await hand.fire() == ["tick@2023-11-14T22:23:21Z", "tick@2023-11-14T22:23:22Z"]


async def test_the_clock_may_jump_ahead_and_back() -> None:
    async with shift(minutely()) as hand:
        await hand.fire()
        hand.testing.advance("2h")
        assert await hand.fire() == ["tick@2023-11-15T00:13:00Z"]
        hand.testing.clock._time -= 600
        assert await hand.fire() == []
        hand.testing.advance(600)
        assert await hand.fire() == []
        hand.testing.advance(60)
        assert await hand.fire() == ["tick@2023-11-15T00:14:00Z"]
        hand.testing.clock._time -= CLOCK_SET_BACK + 60
        assert await hand.fire() == []
        hand.testing.advance(60)
        assert await hand.fire() == ["tick@2023-11-14T23:14:00Z"]


async def test_after_the_clock_was_set_back_nothing_runs_twice() -> None:
    async with shift(minutely(misfire="all", misfire_limit=1000)) as hand:
        await hand.fire()
        hand.testing.advance("2h")
        assert len(await hand.fire()) == 120
        await hand.testing.drain()
        hand.testing.clock._time -= CLOCK_SET_BACK + 60
        await hand.fire()
        hand.testing.advance("10m")
        assert await hand.fire() == []
        assert (await hand.record("tick")).fired == 120


async def test_what_cannot_be_made_raises_the_alarm_and_costs_no_tick() -> None:
    app = Outlast("shop")
    works: list[bool] = []

    def key(number: int) -> str:
        if not works:
            raise LookupError("no customer yet")
        return str(number)

    @app.schedule("* * * * *", args=(7,), name="tick", misfire="all")
    @app.schedule("* * * * *", args=("seven",), name="wrong")
    @app.job(key=key)
    async def work(number: int) -> None: ...

    async with shift(app) as hand:
        assert await hand.fire() == []
        assert len(hand.alarms) == 2
        assert (await hand.record("tick")).error == "job 'work': key= raised LookupError: no customer yet"
        assert "valid integer" in (await hand.record("wrong")).error
        works.append(True)
        hand.testing.advance("2m")
        assert await hand.fire() == ["tick@2023-11-14T22:14:00Z", "tick@2023-11-14T22:15:00Z"]
        assert (await hand.record("tick")).error == ""
        assert len(hand.alarms) == 2
        hand.testing.advance(RECALL + AGAIN)
        await hand.fire()
        assert len(hand.alarms) == 3


async def test_a_kind_that_no_app_includes_is_told() -> None:
    app, router = Outlast("shop"), JobRouter()

    @app.schedule(every="5m")
    @router.job
    async def work() -> None: ...

    async with shift(app) as hand:
        await hand.fire()
        assert hand.alarms == ["kind 'work' is not declared by this app: include its JobRouter, or remove it"]


async def test_new_code_decides_while_old_code_lives_beside_it() -> None:
    async with shift(minutely()) as hand:
        await hand.fire()
        new = hand.another(minutely(misfire="all"))
        await new.step()
        hand.testing.advance(40)
        assert await hand.fire() == []
        await new.step()
        assert (await hand.record("tick")).fired == 1
        hand.testing.advance(STALE + 20)
        assert len(await hand.fire()) == 0
        assert (await hand.record("tick")).spec.misfire == "latest"


async def test_what_no_worker_declares_is_told_by_the_others() -> None:
    old, new = Outlast("shop"), Outlast("shop")
    for app, names in ((old, ("a", "b")), (new, ("a",))):
        job = app.job(kind="work")(lambda: None)
        for name in names:
            app.schedule(every="5m", name=name)(job)
    async with shift(new) as hand:
        await hand.another(old).step()
        await hand.fire()
        hand.testing.advance(ORPHANED + 1)
        await hand.fire()
        assert [why.partition(":")[0] for why in hand.alarms] == ["no live worker declares it any more"]


class Shaky(Direct):
    """A line that fails in these ways, one after the other, before it works."""

    def __init__(self, store: Store, errors: list[Exception]) -> None:
        super().__init__(store)
        self.errors = errors

    async def once(self, call: Callable[[Store], Awaitable[T]], *, wait: float = 0.0) -> T:
        if self.errors:
            raise self.errors.pop(0)
        return await super().once(call, wait=wait)


async def test_nothing_that_fails_ends_the_loop() -> None:
    async with shift(minutely()) as hand:
        errors: list[Exception] = [StoreUnavailable("away"), ConfigurationError("another app"), ValueError("a fault")]
        rests: list[float] = []

        async def rest(seconds: float) -> None:
            rests.append(seconds)

        scheduler = scheduler_of(
            hand.runtime, tell=hand.events.append, line=Shaky(hand.runtime.store, errors), rest=rest
        )
        running = asyncio.create_task(scheduler.run())
        await until(hand.runtime.store.schedules.schedules, "it goes on")
        hand.testing.advance(40)
        await until(hand.testing.drain, "it fires")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert 1 <= rests[0] <= 2
        assert rests[1:] == [AGAIN, AGAIN]
        assert hand.alarms == ["another app", "the scheduler failed: ValueError('a fault')"]


async def test_a_schedule_of_another_app_is_refused() -> None:
    async with shift(minutely()) as hand:
        await hand.fire()
        other = Outlast("blog")
        other.schedule(every="5m", name="tick")(other.job(kind="post")(lambda: None))
        with pytest.raises(ConfigurationError, match="belongs to app 'shop'"):
            await hand.another(other).declare()


async def test_a_test_fires_by_its_own_clock() -> None:
    app = minutely(misfire="all")
    async with app.testing() as t:
        assert await t.fire() == []
        t.advance("2m")
        fired = await t.fire()
        assert [each.id for each in fired] == [f"default.tick@2023-11-14T22:1{n}:00Z" for n in (4, 5)]
        assert [each.state for each in await t.drain()] == ["succeeded"] * 2
        assert await t.fire() == []


def test_a_blocking_test_fires_too() -> None:
    with minutely().testing() as t:
        t.advance("1m")
        assert len(t.fire_sync()) == 1


async def test_what_a_key_rule_says_of_a_redacted_argument_is_shown_nowhere() -> None:
    app = Outlast("shop")

    def key(number: int, password: str) -> str:
        raise LookupError(f"no tenant {number} for {password}")

    @app.schedule("* * * * *", kwargs={"number": 7, "password": "hunter2"})
    @app.job(key=key)
    async def login(number: int, password: Annotated[str, Redacted]) -> None: ...

    async with shift(app) as hand:
        hand.testing.advance(40)
        assert await hand.fire() == []
        record = await hand.record("login")
        assert record.error == "job 'login': key= raised LookupError: no tenant [redacted] for [redacted]"
        assert hand.alarms == [record.error]


async def test_a_test_is_told_of_a_schedule_that_cannot_run() -> None:
    app = Outlast("shop")

    @app.schedule("@daily", args=("seven",))
    @app.job
    async def work(number: int) -> None: ...

    async with app.testing() as t:
        with pytest.raises(ConfigurationError, match=r"schedule 'work' cannot run: .*valid integer"):
            await t.fire()


async def test_what_is_declared_later_is_fired_too() -> None:
    app = minutely()
    async with shift(app) as hand:
        await hand.fire()
        app.schedule(every="1m", name="late")(app.job(kind="more")(lambda: None))
        await hand.fire()
        hand.testing.advance(60)
        assert await hand.fire() == ["tick@2023-11-14T22:14:00Z", "late@2023-11-14T22:14:00Z"]
