"""Spreading schedules by name, and the ids of their runs."""

from __future__ import annotations

from collections import Counter

import pytest

from outlast.core.errors import ConfigurationError
from outlast.core.spread import offset_of, spread, tick_id, written

NAMES = [f"job{n}" for n in range(2000)]


def test_without_h_nothing_changes() -> None:
    assert spread("0 5 * * 1-5", "a") == "0 5 * * 1-5"
    assert spread("*/10  0 5 * *  MON", "a") == "*/10 0 5 * * MON"
    assert spread("@daily", "a") == "0 0 * * *"


def test_h_is_the_same_for_a_name_for_ever() -> None:
    assert spread("H H * * *", "nightly") == spread("H H * * *", "nightly") == "42 18 * * *"
    assert spread("H H * * *", "weekly") == "16 7 * * *"


def test_h_takes_every_value_about_as_often() -> None:
    minutes = Counter(spread("H * * * *", name).split()[0] for name in NAMES)
    assert set(minutes) == {str(n) for n in range(60)}
    assert max(minutes.values()) < 3 * min(minutes.values())
    days = {int(spread("0 0 H * *", name).split()[2]) for name in NAMES}
    assert days == set(range(1, 29))
    assert {spread("0 0 * * H", name).split()[4] for name in NAMES} == set("0123456")


def test_h_keeps_to_its_range_and_step() -> None:
    assert {int(spread("H(10-19) * * * *", name).split()[0]) for name in NAMES} == set(range(10, 20))
    assert {spread("H/15 * * * *", name).split()[0] for name in NAMES} == {f"{n}-59/15" for n in range(15)}
    assert {spread("H(0-4)/10 * * * *", name).split()[0] for name in NAMES} == {f"{n}-4/10" for n in range(5)}
    first, second, *_ = spread("H,30 h * * *", "a").split()
    assert first.endswith(",30")
    assert second.isdigit()
    assert len(spread("H H H H H H", "a").split()) == 6


@pytest.mark.parametrize("wrong", ["H(5-70) * * * *", "H(9-3) * * * *", "H/0 * * * *", "0 H(0-24) * * *"])
def test_a_range_beyond_the_field_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="must be within"):
        spread(wrong, "a")


@pytest.mark.parametrize("wrong", ["", "* * * *", "* * * * * * *", "@reboot"])
def test_too_few_or_many_fields_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="fields"):
        spread(wrong, "a")


def test_the_offset_is_a_part_of_the_jitter() -> None:
    assert offset_of("a", 0) == 0
    assert offset_of("a", 0.0001) == 0
    offsets = [offset_of(name, 10) for name in NAMES]
    assert all(0 <= offset < 10 for offset in offsets)
    assert len({int(offset) for offset in offsets}) == 10
    assert offset_of("a", 10) == offset_of("a", 10)


def test_ids_say_the_time_of_the_tick() -> None:
    assert tick_id("mail", "nightly", 1_700_000_000.0) == "mail.nightly@2023-11-14T22:13:20Z"
    assert tick_id("mail", "nightly", 1_700_000_000.1, asked=True) == "mail.nightly@2023-11-14T22:13:20.100Z.asked"
    assert written(1_700_000_000.9996) == "2023-11-14T22:13:21Z"
