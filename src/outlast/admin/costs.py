"""What runs have cost, summed and priced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from msgspec import structs

from outlast.core.history import Cost
from outlast.core.prices import Prices

__all__ = ["By", "PricedCost", "priced"]

By = Literal["kind", "tenant", "day"]


class PricedCost(NamedTuple):
    """A sum of costs, and its price; fields by which it was not summed are empty."""

    cost: Cost
    price: float


def priced(costs: Iterable[Cost], prices: Prices, by: Sequence[By]) -> list[PricedCost]:
    """Return the sums by these fields, the dearest first: by price, then by CPU and wall seconds.

    Each row is priced by its kind before it is summed.
    """
    sums: dict[tuple[str, str, int], PricedCost] = {}
    for each in costs:
        kind = each.kind if "kind" in by else ""
        tenant = each.tenant if "tenant" in by else ""
        day = each.day if "day" in by else 0
        had = sums.get((kind, tenant, day), PricedCost(Cost(kind=kind, tenant=tenant, day=day), 0.0))
        sums[kind, tenant, day] = PricedCost(had.cost + each, had.price + prices.price(each))
    return sorted(sums.values(), key=_order)


def _order(each: PricedCost) -> tuple[object, ...]:
    cost = each.cost
    return (-each.price, -cost.cpu, -cost.wall, *structs.astuple(cost)[:3])
