"""The table of prices, and what runs cost by it."""

from __future__ import annotations

import re

import pytest

from outlast.core.errors import ConfigurationError
from outlast.core.history import Cost
from outlast.core.prices import PRICES_PATTERN, Prices
from outlast.settings import Settings

TABLE = "cpu_hour=0.04, wall_hour=.01 gib=0.09 runs_1000=2 render.pdf:cpu_hour=4 currency=EUR"


def test_a_table_is_read() -> None:
    prices = Prices.of(TABLE)
    assert prices == Prices(
        {"cpu_hour": 0.04, "wall_hour": 0.01, "gib": 0.09, "runs_1000": 2.0}, {"render.pdf": {"cpu_hour": 4.0}}, "EUR"
    )
    assert prices
    assert not Prices.of("currency=EUR")
    assert Prices.of("render:gib=1")


def test_what_runs_have_used_is_priced_by_kind() -> None:
    prices = Prices.of(TABLE)
    used = Cost(kind="send", runs=500, cpu=7200.0, wall=3600.0, bytes=2**30)
    assert prices.price(used) == pytest.approx(0.08 + 0.01 + 0.09 + 1.0)
    assert prices.price(Cost(kind="render.pdf@2", cpu=3600.0)) == pytest.approx(4.0)
    assert Prices.of("").price(used) == 0


@pytest.mark.parametrize(
    ("amount", "shown"), [(0.0, "0.00"), (1234.5, "1,234.50"), (0.01, "0.01"), (0.00004, "0.000040")]
)
def test_amounts_are_short(amount: float, shown: str) -> None:
    assert Prices().shown(amount) == shown
    assert Prices(currency="EUR").shown(amount) == f"{shown} EUR"
    assert Prices(currency="EUR").shown(amount, bare=True) == shown


@pytest.mark.parametrize("text", ["", "  ", TABLE, "currency=EUR", "cpu_hour=1,", "gib=1,gib=2", "currency=€"])
def test_what_fits_the_pattern_is_taken(text: str) -> None:
    assert re.match(PRICES_PATTERN, text)
    Prices.of(text)
    assert Settings(url="memory:", prices=text).prices == text


@pytest.mark.parametrize(
    "text",
    ["cpu=1", "cpu_hour", "cpu_hour=-1", "cpu_hour=1e3", "cpu_hour=nan", "a b:gib=1", "cpu_hour=1;gib=2", "x=\ngib=1"],
)
def test_another_text_is_refused_with_the_names(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"prices=.*the names are cpu_hour, wall_hour, gib, runs_1000"):
        Settings(url="memory:", prices=text)


def test_the_table_may_come_from_a_variable() -> None:
    assert Settings.load("shop", environ={"OUTLAST_URL": "memory:", "OUTLAST_SHOP_PRICES": TABLE}).prices == TABLE
