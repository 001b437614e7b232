"""Which class is refused when, and how long the refused ones are told to wait."""

from __future__ import annotations

import heapq
from datetime import timedelta
from math import ceil, inf
from typing import Any

import pytest

from outlast import ConfigurationError
from outlast.core.shedding import (
    LONGEST_WAIT,
    ClassLimit,
    RequestClass,
    RequestLoad,
    Shed,
    Shedding,
    health_first,
    shedding,
)

BOTH = Shed(max_in_flight=100, max_lag="200ms")
ONLY_LAG = Shed(max_lag=0.2)
ONLY_IN_FLIGHT = Shed(max_in_flight=100)


@pytest.mark.parametrize(
    ("shed", "of", "in_flight", "lag", "expected"),
    [
        (BOTH, "background", 0, 0.0, ""),
        (BOTH, "background", 49, 0.099, ""),
        (BOTH, "background", 50, 0.0, "in-flight"),
        (BOTH, "background", 49, 0.1, "lag"),
        (BOTH, "background", 50, 0.1, "in-flight"),
        (BOTH, "normal", 50, 0.1, ""),
        (BOTH, "normal", 89, 0.199, ""),
        (BOTH, "normal", 90, 0.0, "in-flight"),
        (BOTH, "normal", 0, 0.2, "lag"),
        (BOTH, "critical", 90, 0.2, ""),
        (BOTH, "critical", 99, 1e9, ""),
        (BOTH, "critical", 100, 0.0, "in-flight"),
        (ONLY_LAG, "normal", 10**9, 0.199, ""),
        (ONLY_LAG, "background", 10**9, 0.1, "lag"),
        (ONLY_LAG, "critical", 10**9, 1e9, ""),
        (ONLY_IN_FLIGHT, "background", 49, 1e9, ""),
        (ONLY_IN_FLIGHT, "normal", 90, 1e9, "in-flight"),
    ],
)
def test_the_lower_class_is_refused_first(
    shed: Shed, of: RequestClass, in_flight: int, lag: float, expected: Shedding
) -> None:
    assert shedding(shed.limits[of], in_flight, lag) == expected


@pytest.mark.parametrize(
    ("most", "critical", "normal", "background"),
    [
        (1, 1, 1, 1),
        (2, 2, 1, 1),
        (3, 3, 2, 1),
        (10, 10, 9, 5),
        (11, 11, 9, 5),
        (70, 70, 63, 35),
        (10**6,) * 2 + (900_000, 500_000),
    ],
)
def test_shares_are_whole_and_at_least_one(most: int, critical: int, normal: int, background: int) -> None:
    limits = Shed(max_in_flight=most).limits
    assert [limits[each].in_flight for each in ("critical", "normal", "background")] == [critical, normal, background]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"Shed\(\): it would refuse nothing: give max_in_flight, max_lag or both"),
        ({"max_in_flight": 0}, r"Shed\(max_in_flight=0\): give a whole number of requests, 1 to 1,000,000"),
        ({"max_in_flight": -1}, "max_in_flight=-1"),
        ({"max_in_flight": 1_000_001}, "max_in_flight=1000001"),
        ({"max_in_flight": 1.5}, r"max_in_flight=1\.5"),
        ({"max_in_flight": True}, "max_in_flight=True"),
        ({"max_in_flight": "100"}, "max_in_flight='100'"),
        ({"max_lag": 0}, r"Shed\(max_lag=0\): give '10ms' or more"),
        ({"max_lag": "9ms"}, "max_lag='9ms'.*give '10ms' or more"),
        ({"max_lag": "200"}, r"Shed\(max_lag\)='200': give a number with its unit"),
        ({"max_lag": -1}, "max_lag"),
        ({"max_lag": inf}, "max_lag"),
        ({"max_in_flight": 1, "classes": "normal"}, r"Shed\(classes='normal'\): give a function of the ASGI scope"),
        ({"max_in_flight": 1, "classes": dict}, "classes="),
    ],
)
def test_bad_settings_are_refused_with_the_fix(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Shed(**given)


def test_a_function_that_nothing_awaits_is_refused() -> None:
    async def of(scope: Any) -> RequestClass:
        return "normal"

    with pytest.raises(ConfigurationError, match="give a plain 'def': nothing awaits it"):
        Shed(max_in_flight=1, classes=of)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_what_is_good_is_taken() -> None:
    assert Shed(max_in_flight=1).max_lag is None
    assert Shed(max_lag="10ms").max_lag == 0.01
    assert Shed(max_lag=timedelta(seconds=1), classes=lambda scope: "critical").max_lag == 1.0


@pytest.mark.parametrize("path", ["/health", "/outlast/health", "/healthz", "/a/livez", "/readyz"])
def test_health_routes_are_critical(path: str) -> None:
    assert health_first({"path": path}) == "critical"


@pytest.mark.parametrize("path", ["", "/", "/health/", "/healthy", "/orders", "/unhealth"])
def test_other_routes_are_normal(path: str) -> None:
    assert health_first({"path": path}) == "normal"


TEN = ClassLimit("normal", 10, inf)


def loaded(in_flight: int, *took: float) -> RequestLoad:
    load = RequestLoad(in_flight + len(took))
    for each in took:
        load.end(each)
    return load


class TestMean:
    def test_it_is_one_second_until_a_request_has_ended(self) -> None:
        assert RequestLoad().mean == 1.0

    def test_it_is_that_of_the_requests_that_ended(self) -> None:
        load = loaded(3, 2.0, 4.0, 6.0)
        assert (load.in_flight, load.mean) == (3, 4.0)

    def test_it_follows_newer_ones(self) -> None:
        load = loaded(0, *[1.0] * 500, *[3.0] * 200)
        assert load.mean == pytest.approx(3.0, abs=0.01)

    def test_one_stream_of_an_hour_counts_as_a_minute(self) -> None:
        assert loaded(0, *[0.1] * 100, 3600.0).mean == pytest.approx(0.1 + (60 - 0.1) / 32)


class TestWait:
    def test_the_first_one_waits_for_the_next_place(self) -> None:
        assert loaded(10, 5.0).refuse(TEN, 0.0, 1000.0) == pytest.approx(0.5)

    def test_the_next_ones_wait_behind_it(self) -> None:
        load = loaded(10, 5.0)
        waits = [load.refuse(TEN, 0.0, 1000.0) for _ in range(4)]
        assert waits == pytest.approx([0.5, 1.0, 1.5, 2.0])

    def test_the_line_moves_on_with_time(self) -> None:
        load = loaded(10, 5.0)
        for _ in range(4):
            load.refuse(TEN, 0.0, 1000.0)
        assert load.refuse(TEN, 0.0, 1001.0) == pytest.approx(1.5)
        assert load.refuse(TEN, 0.0, 2000.0) == pytest.approx(0.5)

    def test_not_more_are_sent_into_one_second_than_there_are_places(self) -> None:
        load = loaded(10, 0.01)
        waits = [ceil(round(load.refuse(TEN, 0.0, 0.0), 3)) for _ in range(30)]
        assert [waits.count(second) for second in (1, 2, 3)] == [10, 10, 10]

    def test_a_lower_class_waits_until_those_above_its_limit_have_ended(self) -> None:
        assert loaded(90, 9.0).refuse(ClassLimit("background", 50, inf), 0.0, 0.0) == pytest.approx(4.0 + 9 / 50)

    def test_a_lower_class_makes_no_higher_one_wait(self) -> None:
        load = loaded(10, 5.0)
        for _ in range(1000):
            load.refuse(ClassLimit("background", 5, inf), 0.0, 0.0)
        assert load.refuse(TEN, 0.0, 0.0) == pytest.approx(0.5)

    def test_for_lag_it_waits_until_those_in_flight_have_ended(self) -> None:
        limit = ClassLimit("normal", inf, 0.2)
        assert loaded(4, 2.0).refuse(limit, 0.3, 0.0) == pytest.approx(2.0 + 0.3 + 0.5)
        assert RequestLoad().refuse(limit, 0.3, 0.0) == pytest.approx(1.0 + 0.3 + 1.0)

    @pytest.mark.parametrize("took", [0.0, 1e9])
    def test_it_is_bounded(self, took: float) -> None:
        load = loaded(1, took)
        waits = [load.refuse(ClassLimit("critical", 1, inf), 0.0, 0.0) for _ in range(1000)]
        assert all(0.0 < wait <= LONGEST_WAIT for wait in waits)
        assert waits[-1] == LONGEST_WAIT

    @pytest.mark.parametrize("took", [0.2, 1.0, 3.0])
    def test_nine_of_ten_that_come_again_as_told_are_served(self, took: float) -> None:
        """A full server with ten places gets a burst of 100 clients; each comes again once, when it was told to."""
        load = loaded(10, *[took] * 32)
        ends = [(number + 1) * took / 10 for number in range(10)]  # in turns, as in a server that has run for a while
        back = sorted(ceil(round(load.refuse(TEN, 0.0, 0.0), 3)) for _ in range(100))
        served = 0
        for now in back:
            while ends and ends[0] <= now:
                heapq.heappop(ends)
                load.end(took)
            if not shedding(TEN, load.in_flight, 0.0):
                load.in_flight += 1
                heapq.heappush(ends, now + took)
                served += 1
        assert served >= 0.9 * len([each for each in back if each < LONGEST_WAIT])
