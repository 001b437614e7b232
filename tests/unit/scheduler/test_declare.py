"""The `schedule` decorator: where it may stand, and what it refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from outlast import ConfigurationError, Context, JobRouter, Outlast
from outlast.core.schedule import Spec
from outlast.enqueue.job import Job


def test_above_and_below_the_job() -> None:
    app = Outlast("shop")

    @app.schedule("0 5 * * 1-5", tz="Europe/Berlin", misfire="all")
    @app.job
    async def above() -> None: ...

    @app.job(queue="mail")
    @app.schedule(every=timedelta(minutes=5), name="first", args=(1,))
    @app.schedule(every="1h", name="second", kwargs={"number": 2})
    async def below(ctx: Context, number: int) -> None: ...

    assert isinstance(above, Job)
    assert isinstance(below, Job)
    found = app.registry.schedules
    assert found["above"].spec == Spec(cron="0 5 * * 1-5", tz="Europe/Berlin", misfire="all")
    assert [(name, each.kind) for name, each in found.items()] == [
        ("above", "above"),
        ("first", "below"),
        ("second", "below"),
    ]
    assert (found["first"].args, found["second"].kwargs, found["second"].spec.every) == ((1,), {"number": 2}, 3600.0)


def test_two_jobs_of_one_function_do_not_share_what_stands_below_the_first() -> None:
    app = Outlast("shop")

    @app.schedule("@daily")
    def work() -> None: ...

    app.job(kind="a")(work)
    app.job(kind="b")(work)
    assert list(app.registry.schedules) == ["a"]


def test_the_jobs_of_a_router() -> None:
    app, router = Outlast("shop"), JobRouter(queue="mail")

    @router.schedule("@daily")
    @router.job
    async def early() -> None: ...

    app.include(router)

    @router.schedule("@daily")
    @router.job
    async def late() -> None: ...

    app.schedule("@hourly", name="often")(early)
    assert list(app.registry.schedules) == ["early", "late", "often"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"every": "5m", "name": "a b"}, "schedule name='a b'"),
        ({"every": "5m", "args": "x"}, "schedule args= is a str"),
        ({"every": "5m", "args": 7}, "schedule args= is a int"),
        ({"every": "5m", "kwargs": [1]}, "schedule kwargs= is a list"),
        ({"every": "5m"}, "needs number"),
        ({"every": "5m", "args": (1, 2, 3)}, "takes"),
        ({"every": "5m", "args": (1,), "kwargs": {"number": 2}}, "gives 1 by position and number by name"),
        ({"every": "5m", "kwargs": {"number": 2, "color": "red"}}, "color"),
        ({"every": "5m", "tz": "Europe/Berlin"}, "has no time zone"),
        ({}, "give either a cron expression"),
    ],
)
def test_what_is_wrong_is_said_where_it_is_written(given: dict[str, Any], said: str) -> None:
    app = Outlast("shop")

    @app.job
    async def work(number: int, size: str = "s") -> None: ...

    with pytest.raises(ConfigurationError, match=said):
        app.schedule(**given)(work)
    assert app.registry.schedules == {}


@pytest.mark.parametrize(
    ("cron", "tz"), [("61 * * * *", "UTC"), ("* * * * *", "Mars/Olympus"), ("H(5-99) * * * *", "UTC")]
)
def test_a_wrong_time_is_refused_before_there_is_a_job(cron: str, tz: str) -> None:
    with pytest.raises(ConfigurationError, match="schedule"):
        Outlast("shop").schedule(cron, tz=tz)


def test_a_name_is_used_once() -> None:
    app = Outlast("shop")

    @app.schedule("@daily")
    @app.job
    async def work() -> None: ...

    with pytest.raises(ConfigurationError, match="declared twice, for 'work' and 'work': give one of them"):
        app.schedule("@hourly")(work)


def test_it_stands_on_functions_and_jobs_only() -> None:
    with pytest.raises(ConfigurationError, match="is not a job"):
        Outlast("shop").schedule("@daily")(7)  # type: ignore[type-var]
