"""Rates, limits and what an operator may change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import ConfigurationError
from outlast.core.limits import Gcra, Limit, Rate, nanos, rate_of
from outlast.core.select import QueueState
from outlast.core.topology import Queue, adjusted, limits_of

NOW = nanos(1_800_000_000.0)
SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/s", Rate(100, 1.0)),
        ("10/minute", Rate(10, 60.0)),
        (" 5 / 30s ", Rate(5, 30.0)),
        ("3/2h", Rate(3, 7200.0)),
        ("1/day", Rate(1, 86400.0)),
        (Rate(7, 2), Rate(7, 2.0)),
    ],
)
def test_rates_are_read(text: object, rate: Rate) -> None:
    assert rate_of(text, "rate") == rate


@pytest.mark.parametrize(
    "text",
    [
        *("100", "0/s", "-1/s", "1.5/s", "10/", "10/fortnight", 100, None, Rate(0), "1/0s", "9" * 400 + "/s", 10**5000),
        *(Rate(1, float("inf")), Rate(1, float("nan")), Rate(1, 10**400), Rate(1, "s")),  # type: ignore[arg-type]
    ],
    ids=range(16),
)
def test_what_is_no_rate_is_refused_by_name(text: object) -> None:
    with pytest.raises(ConfigurationError, match="queue 'q': rate"):
        rate_of(text, "queue 'q': rate")


@pytest.mark.parametrize("rate", ["2000000/s", Rate(10**400)], ids=range(2))
def test_a_rate_that_nothing_keeps_is_refused(rate: object) -> None:
    assert rate_of("1000000/s", "rate") == Rate(1_000_000, 1.0)
    with pytest.raises(ConfigurationError, match="1,000,000 a second"):
        rate_of(rate, "rate")


@pytest.mark.parametrize("name", ["concurrency", "max_depth", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, 2**53 + 1, 10**400, 10**5000], ids=range(7))
def test_a_limit_that_nothing_keeps_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}="):
        Limit(**{name: value})


@pytest.mark.parametrize(("rate", "text"), [(Rate(5), "5/s"), (Rate(5, 60.0), "5/m"), (Rate(5, 30.0), "5/30s")])
def test_a_rate_reads_as_it_is_written(rate: Rate, text: str) -> None:
    assert str(rate) == text
    assert rate_of(text, "rate") == rate


def test_burst_is_a_tenth_unless_given() -> None:
    assert [Gcra.of(Rate(n), None).burst for n in (1, 19, 100)] == [1, 1, 10]
    assert Gcra.of(Rate(100), 1) == Gcra(SECOND // 100, 1)


def test_a_third_of_a_second_is_rounded_up_never_to_exceed_the_rate() -> None:
    assert Gcra.of(Rate(3), 1).interval == 333_333_334


def test_room_is_the_burst_and_comes_back_one_interval_after_the_other() -> None:
    gcra = Gcra(SECOND, 3)
    assert gcra.room(0, NOW) == 3
    tat = gcra.taken(0, NOW, 3)
    assert [gcra.room(tat, NOW + wait) for wait in (0, SECOND - 1, SECOND, 2 * SECOND, 9 * SECOND)] == [0, 0, 1, 2, 3]
    assert gcra.next_at(tat, NOW) == NOW + SECOND
    assert gcra.next_at(tat, NOW + 5 * SECOND) == NOW + 5 * SECOND


def test_a_clock_set_back_costs_one_burst_at_most() -> None:
    gcra = Gcra(SECOND, 3)
    tat = gcra.taken(0, NOW, 3)
    back = NOW - 3600 * SECOND
    assert gcra.room(tat, back) == 0
    assert gcra.next_at(tat, back) == back + SECOND
    assert gcra.taken(tat, back + SECOND, 1) <= back + 5 * SECOND


@given(
    st.integers(1, 50),
    st.sampled_from([1.0, 60.0, 0.7]),
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(1, 20)), max_size=30),
)
def test_it_never_lets_more_begin_than_it_says(count: int, per: float, burst: int, asks: list[tuple[int, int]]) -> None:
    gcra = Gcra.of(Rate(count, per), burst)
    now, tat = NOW, 0
    begun: list[int] = []
    for wait, wanted in asks:
        now += wait
        room = gcra.room(tat, now)
        assert 0 <= room <= burst
        assert (room > 0) == (gcra.next_at(tat, now) == now)
        given = min(room, wanted)
        if given:
            tat = gcra.taken(tat, now, given)
        begun += [now] * given
    for first in range(len(begun)):
        for last in range(first, len(begun)):
            stretch = begun[last] - begun[first]
            assert last - first + 1 <= burst + stretch * count / (per * 1e9)


@pytest.mark.parametrize("name", ["concurrency", "burst", "max_depth", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True])
def test_a_limit_is_a_whole_number(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"Limit: {name}="):
        Limit(**{"rate": "1/s", name: value})
    with pytest.raises(ConfigurationError, match=f"queue 'q': {name}="):
        Queue(name="q", **{"rate": "1/s", name: value})


def test_an_age_is_a_duration_and_a_burst_belongs_to_a_rate() -> None:
    assert Limit(max_age="5m").max_age == 300.0
    with pytest.raises(ConfigurationError, match="max_age=0"):
        Limit(max_age=0)
    with pytest.raises(ConfigurationError, match="give rate="):
        Limit(burst=3)
    assert Limit().gcra is None
    assert Limit(rate="2/s", burst=3).gcra == Gcra(SECOND // 2, 3)
    assert Queue(name="q").gcra is None
    assert Queue(name="q", rate="2/s").gcra == Gcra(SECOND // 2, 1)


@pytest.mark.parametrize("weights", [{"a": 0}, {"a": 1001}, {"a": 1.5}, {1: 1}, ["a"]])
def test_weights_map_keys_to_whole_numbers(weights: Any) -> None:
    with pytest.raises(ConfigurationError, match="queue 'q': weights"):
        Queue(name="q", weights=weights)


@pytest.mark.parametrize(
    ("wrong", "told"), [({"on_full": "drop"}, "on_full"), ({"per_key": 2}, "per_key"), ({"retention": 3}, "retention")]
)
def test_a_wrong_setting_of_a_queue_is_named(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"queue 'q': {told}="):
        Queue(name="q", **wrong)


def test_an_operator_changes_what_is_declared() -> None:
    declared = Queue(name="q", rate="10/s", burst=4, per_key=Limit(concurrency=2), weights={"gold": 3, "tin": 2})
    changes = {"concurrency": 5, "rate": "3/m", "per_key.rate": "1/s", "weights.gold": 9, "weights.tin": None}
    assert adjusted(declared, changes) == Queue(
        name="q",
        concurrency=5,
        rate="3/m",
        burst=4,
        per_key=Limit(concurrency=2, rate="1/s"),
        weights={"gold": 9},
    )
    assert adjusted(declared, {}) == declared
    assert adjusted(declared, {"rate": None}) == Queue(
        name="q", per_key=Limit(concurrency=2), weights={"gold": 3, "tin": 2}
    )
    assert adjusted(declared, {"rate": "3/m", "burst": 7}).burst == 7


def test_the_least_and_the_highest_weight() -> None:
    assert Queue(name="q", weights={"a": 1, "b": 1000}).weights == {"a": 1, "b": 1000}


@pytest.mark.parametrize("name", ["name", "retention", "per_key", "weights", "weights.", "per_key.nothing", "speed"])
def test_what_cannot_be_changed_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"queue 'q': '{name}' can't be set: give one of max_depth"):
        adjusted(Queue(name="q"), {name: 1})


def test_a_change_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="queue 'q': concurrency=0"):
        adjusted(Queue(name="q"), {"concurrency": 0})


def test_what_is_set_reads_by_the_names_that_change_it() -> None:
    assert limits_of(Queue(name="q")) == {}
    queue = Queue(
        name="q",
        concurrency=5,
        rate="10/minute",
        on_full="shed",
        max_age="1m",
        per_key=Limit(rate="1/2s", burst=3),
        weights={"gold": 2, "ann": 3},
    )
    said = limits_of(queue)
    assert said == {
        "concurrency": 5,
        "rate": "10/m",
        "on_full": "shed",
        "max_age": 60.0,
        "per_key.rate": "1/2s",
        "per_key.burst": 3,
        "weights.ann": 3,
        "weights.gold": 2,
    }
    assert adjusted(Queue(name="q"), said) == queue


def test_a_rate_that_is_taken_away_takes_its_burst_along() -> None:
    assert adjusted(Queue(name="q"), {"burst": 3, "rate": None}) == Queue(name="q")


def test_which_limit_lets_nothing_begin() -> None:
    line = QueueState(Queue(name="q", concurrency=1, rate="1/s", burst=1))
    assert line.held(0) == ""
    line.tat = 10**9
    assert line.held(0) == "rate"
    line.running = 1
    assert line.held(0) == "concurrency"
    assert QueueState(Queue(name="q")).held(0) == ""
