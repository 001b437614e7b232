"""What is told of the openings and closings of a guard: once each, to the log and to observers."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from outlast import Breaker, Guard, GuardClosed, GuardOpened, Outlast, Settings
from outlast.core.guards.answers import SharedBreaker
from outlast.core.parts import Part
from tests.support.fake_time import FakeTime

OPENED = GuardOpened("payments", "4 of 4 calls failed", shared=False)


async def fails() -> None:
    raise ConnectionError


async def works() -> int:
    return 1


async def fail(guard: Any, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionError):
            await guard.call(fails)


def new(time: FakeTime, told: list[object], **settings: Any) -> Guard:
    return Guard("payments", breaker=Breaker(minimum=4, open_for=5), clock=time.now, tell=told.append, **settings)


def test_an_opening_and_its_closing_are_told_once_each(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    told: list[object] = []
    guard = new(time, told)

    async def main() -> None:
        await fail(guard, 3)
        assert told == []
        await fail(guard, 1)
        assert told == [OPENED]
        time.at += 5
        await fail(guard, 1)  # the probe: it stays open
        assert told == [OPENED]
        time.at += 5
        assert await guard.call(works) == 1
        assert told == [OPENED, GuardClosed("payments", 10.0)]

    caplog.set_level(logging.INFO, "outlast.guards")
    time.run(main)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "guard payments is open (4 of 4 calls failed): no call is made, next probe in 5.0 s"),
        ("INFO", "guard payments is closed again after 10 s, 10% of the calls at first"),
    ]


def test_what_all_processes_share(time: FakeTime) -> None:
    told: list[Any] = []
    guard = new(time, told)
    guard.adopt(SharedBreaker(3, open=True, since=time.at - 41, probe_at=time.at + 4))
    assert told == [GuardOpened("payments", "open for all processes", shared=True)]
    guard.adopt(SharedBreaker(4, open=True, since=time.at - 41, probe_at=time.at + 9))
    guard.adopt(SharedBreaker(5, open=False, since=time.at, probe_at=0, closed_at=time.at))
    assert told[1:] == [GuardClosed("payments", 41.0)]
    guard.adopt(SharedBreaker(6, open=True, since=time.at, probe_at=0, held="open"))
    assert told[2:] == [GuardOpened("payments", "opened by an operator", shared=True)]


@pytest.mark.parametrize(("earlier", "seconds"), [(2.0, 5.0), (-1.0, 3.0)])
def test_an_opening_that_becomes_one_of_all_is_the_same_opening(time: FakeTime, earlier: float, seconds: float) -> None:
    told: list[Any] = []
    guard = new(time, told)
    time.run(lambda: fail(guard, 4))
    since = time.at - earlier
    time.at += 3
    guard.adopt(SharedBreaker(3, open=True, since=since, probe_at=time.at + 4))
    guard.adopt(SharedBreaker(5, open=False, since=time.at, probe_at=0, closed_at=time.at))
    assert told == [OPENED, GuardClosed("payments", seconds)]


def test_an_operator(time: FakeTime) -> None:
    told: list[Any] = []
    guard = new(time, told)
    guard.hold("open")
    guard.hold("open")
    guard.hold("")
    assert told == [GuardOpened("payments", "opened by an operator", shared=False), GuardClosed("payments", 0.0)]


def test_each_key_of_a_keyed_guard(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []
    guard = new(time, told, key="host")

    async def main() -> None:
        await fail(guard.of("a.example\x1b"), 4)
        await fail(guard.of(7), 4)
        await fail(guard.of(None), 4)
        await fail(guard.of("b.example"), 3)

    time.run(main)
    assert [each.key for each in told] == ["a.example\\x1b", "7", "None"]
    assert "guard payments[a.example\\x1b] is open" in caplog.text


def test_what_cannot_be_told_ends_no_call(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    def tell(event: object) -> None:
        raise ValueError("no")

    guard = Guard("payments", breaker=Breaker(minimum=4), clock=time.now, tell=tell)
    time.run(lambda: fail(guard, 4))
    assert guard.view().state == "open"
    assert "an event of guard payments could not be told" in caplog.text


async def test_the_observers_of_an_app() -> None:
    shop, told = Outlast("shop", settings=Settings(url="memory:")), list[object]()
    shop.observe(GuardOpened, GuardClosed)(told.append)
    guard = shop.guard("payments", breaker=Breaker(minimum=4))
    await fail(guard, 4)
    assert told == [OPENED]


def test_guards_are_a_part_of_an_app_that_has_one() -> None:
    shop = Outlast("shop")
    assert [part.name for part in shop.parts] == ["store"]
    shop.guard("payments", breaker=True)
    shop.guard("mail", breaker=True)
    _, part = shop.parts
    assert isinstance(part, Part)
    assert (part.name, part.health) == ("guards", None)
