"""Costs are summed by what is asked for, and priced by their kind before that."""

from __future__ import annotations

from outlast.admin.costs import priced
from outlast.core.history import Cost
from outlast.core.prices import Prices

ROWS = [
    Cost(kind="send", tenant="ann", day=1, runs=1, cpu=3600.0, wall=2.0, bytes=10),
    Cost(kind="send", tenant="bob", day=2, runs=2, cpu=7200.0, wall=1.0, bytes=20),
    Cost(kind="bill", tenant="ann", day=2, runs=4, cpu=3600.0, wall=9.0, bytes=1),
]
PRICES = Prices.of("cpu_hour=1 bill:cpu_hour=10")


def test_by_kind() -> None:
    rows = priced(ROWS, PRICES, ["kind"])
    assert [(each.cost.kind, each.cost.runs, each.price) for each in rows] == [("bill", 4, 10.0), ("send", 3, 3.0)]
    assert [(each.cost.tenant, each.cost.day) for each in rows] == [("", 0), ("", 0)]


def test_by_tenant_each_row_is_priced_by_its_kind() -> None:
    rows = priced(ROWS, PRICES, ["tenant"])
    assert [(each.cost.tenant, each.price) for each in rows] == [("ann", 11.0), ("bob", 2.0)]


def test_by_several_and_by_none() -> None:
    rows = priced(ROWS, PRICES, ["kind", "day"])
    assert [(each.cost.kind, each.cost.day, each.price) for each in rows] == [
        ("bill", 2, 10.0),
        ("send", 2, 2.0),
        ("send", 1, 1.0),
    ]
    (total,) = priced(ROWS, PRICES, [])
    assert (total.cost.runs, total.cost.bytes, total.price) == (7, 31, 13.0)
    assert priced([], PRICES, ["kind"]) == []


def test_without_prices_the_most_cpu_comes_first() -> None:
    assert [each.cost.kind for each in priced(ROWS, Prices(), ["kind"])] == ["send", "bill"]
