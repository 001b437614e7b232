"""When schedules tick: against cronsim itself, against another oracle, and across changes of the clock."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.core.errors import ConfigurationError
from outlast.core.schedule import Spec
from outlast.scheduler.ticks import Ticks, zone
from tests.faults.proofs.schedule_zones import by_cronsim, by_outlast, explain
from tests.support import cron_oracle

NOW = 1_700_000_000.0


def instant(text: str, zone_name: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone_name)).timestamp()


def local(spec: Spec, begin: str, count: int) -> list[str]:
    moments = islice(Ticks(spec, "x").iterate(instant(begin, spec.tz)), count)
    return [datetime.fromtimestamp(at, ZoneInfo(spec.tz)).isoformat() for at in moments]


@pytest.mark.parametrize("zone_name", ["Europe/Berlin", "America/New_York", "Africa/Casablanca", "Pacific/Apia"])
@pytest.mark.parametrize("expression", ["30 2 * * *", "0 0-4 * * *", "*/30 1-2 * * *", "10 3 * * 1-5", "0 0 1 * *"])
def test_it_is_what_cronsim_says_and_what_another_way_finds(zone_name: str, expression: str) -> None:
    for month in (3, 10):
        begin, end = (int(datetime(2023, each, 1, tzinfo=UTC).timestamp()) for each in (month, month + 2))
        ours = by_outlast(expression, zone_name, begin, end)
        assert not any(explain(ours, by_cronsim(expression, zone_name, begin, end)).values())
        assert ours == cron_oracle.ticks(expression, zone_name, begin, end)


def test_spring_and_autumn() -> None:
    daily = Spec(cron="30 2 * * *", tz="Europe/Berlin")
    assert local(daily, "2024-03-30T12:00", 2) == ["2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00"]
    assert local(daily, "2024-10-26T12:00", 2) == ["2024-10-27T02:30:00+02:00", "2024-10-28T02:30:00+01:00"]
    often = Spec(cron="*/30 * * * *", tz="Europe/Berlin")
    assert local(often, "2024-10-27T01:45", 4) == [
        "2024-10-27T02:00:00+02:00",
        "2024-10-27T02:30:00+02:00",
        "2024-10-27T02:00:00+01:00",
        "2024-10-27T02:30:00+01:00",
    ]


@given(
    begin=st.floats(1.6e9, 1.9e9),
    expression=st.sampled_from(["30 2 * * *", "0 1-3 * * 0", "*/20 * * * *", "H H(1-3) * * *"]),
    zone_name=st.sampled_from(["Europe/Berlin", "America/Havana", "Australia/Lord_Howe"]),
    jitter=st.sampled_from([0, 7, 3600]),
)
@settings(max_examples=25, deadline=None)
def test_where_one_begins_does_not_change_the_ticks(begin: float, expression: str, zone_name: str, jitter: int) -> None:
    ticks = Ticks(Spec(cron=expression, tz=zone_name, jitter=jitter), "name")
    listed = list(islice(ticks.iterate(begin), 5))
    assert listed == sorted(set(listed))
    assert all(tick > begin for tick in listed)
    for before, after in pairwise(listed):
        assert ticks.after(before) == after
        assert ticks.after((before + after) / 2) == after


@given(begin=st.floats(1.6e9, 1.9e9), every=st.sampled_from([0.1, 0.25, 1, 7, 60, 86400]))
@settings(max_examples=60, deadline=None)
def test_intervals_count_from_1970_whatever_the_clock_of_a_zone_does(begin: float, every: float) -> None:
    ticks = Ticks(Spec(every=every), "name")
    found = list(islice(ticks.iterate(begin), 20))
    first = round(found[0] / every)
    assert found == [round((first + n) * every, 3) for n in range(20)]
    assert 0 < found[0] - begin + 0.001 <= every + 0.002
    assert ticks.due(begin, found[9], 3) == (found[7:10], 7)


def test_jitter_moves_all_ticks_by_the_same_part() -> None:
    late = {tick - plain for tick, plain in zip(*(_ten(jitter) for jitter in (30, 0)), strict=True)}
    assert len({round(each, 3) for each in late}) == 1
    assert 0 < late.pop() < 30


def _ten(jitter: float) -> Iterator[float]:
    return islice(Ticks(Spec(cron="*/5 * * * *", jitter=jitter), "name").iterate(NOW), 10)


@pytest.mark.parametrize("expression", ["* * * * *", "*/7 * * * *", "* * 1 * *", "* * 1 1 *", "0 5 * * *"])
@pytest.mark.parametrize("most", [1, 100])
def test_the_newest_missed_ticks_are_found_however_long_nobody_looked(expression: str, most: int) -> None:
    ticks = Ticks(Spec(cron=expression), "x")
    for length in (0, 60, 3600, 5 * 86_400, 400 * 86_400):
        found, passed = ticks.due(NOW, NOW + length, most)
        everything = list(ticks._until(NOW, NOW + length)) if length < 50 * 86_400 else None
        assert len(found) <= most
        assert all(NOW < tick <= NOW + length for tick in found)
        if everything is not None:
            assert found == everything[-most:]
            assert abs(passed + len(found) - len(everything)) <= max(2, len(everything) // 5)
        elif found:
            assert ticks.after(found[-1] - 1) == found[-1]
            following = ticks.after(found[-1])
            assert following is None or following > NOW + length


@pytest.mark.parametrize(
    "wrong",
    ["70 * * * *", "x * * * *", "* * * *", "0 0 31 2 *", "0 0 30 2 *", "5-1 * * * *", "*/0 * * * *", "1,, * * * *"],
)
def test_a_wrong_expression_is_named(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="schedule cron="):
        Ticks(Spec(cron=wrong), "x")


def test_a_wrong_zone_is_named() -> None:
    for wrong in ("Europe/Berln", "../etc", "Europe"):
        with pytest.raises(ConfigurationError, match="tz="):
            Ticks(Spec(cron="* * * * *", tz=wrong), "x")


def test_a_machine_without_zones_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    zone.cache_clear()
    monkeypatch.setattr("outlast.scheduler.ticks.ZoneInfo", none)
    with pytest.raises(ConfigurationError, match="pip install tzdata"):
        zone("Europe/Berlin")
    assert zone("UTC") is UTC
    monkeypatch.undo()
    zone.cache_clear()


def test_ticks_end_with_the_calendar() -> None:
    last = instant("9999-12-31T23:59:00")
    assert Ticks(Spec(cron="0 0 1 1 *"), "x").after(last) is None
    assert Ticks(Spec(every="1d"), "x").after(last) is None
