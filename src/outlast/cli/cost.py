"""`outlast cost`: what runs have used, by kind, tenant or day, and its price by the table in the settings."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time
from typing import Annotated, Any, Final, cast

import typer

from outlast.cli.common_options import CommonOptions, command
from outlast.cli.output import show
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError
from outlast.core.history import COST_DAYS, DAY, Cost, day_of
from outlast.core.prices import Prices
from outlast.core.text import duration, size

__all__ = ["day_text", "register"]

_FIELDS: Final = ("kind", "tenant", "day")


def register(root: typer.Typer) -> None:
    """Add the command."""
    command(root, "cost")(cost)


def cost(
    options: CommonOptions,
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=COST_DAYS, help="How many days, today included.")] = 30,
    by: Annotated[
        str, typer.Option("--by", metavar="FIELD[,FIELD]", help="kind, tenant, day; several with commas between.")
    ] = "kind",
    top: Annotated[int, typer.Option("--top", min=1, help="Show so many rows, the dearest first.")] = 20,
) -> None:
    """Show what runs have used, and its price by the setting `prices`; --app reads the settings of an app."""
    from outlast.admin.costs import By, priced

    fields = [each.strip() for each in by.split(",") if each.strip()]
    if not fields or set(fields) - set(_FIELDS):
        raise ConfigurationError(f"--by {by}: give kind, tenant or day, or several of them with commas between")
    access = find_store(options)
    prices = Prices.of(access.settings.prices)
    costs = on_store(access, lambda store: store.history.costs(days))
    rows = priced(costs, prices, cast("list[By]", fields))
    total = priced(costs, prices, [])
    if options.json:
        show.json(
            {
                "days": days,
                "since": day_text(day_of(time()) - days + 1),
                "currency": prices.currency,
                "costs": [_document(each.cost, each.price, fields) for each in rows[:top]],
                "more": max(0, len(rows) - top),
                "total": _document(total[0].cost, total[0].price, ()) if total else None,
            }
        )
        return
    heads = [*fields, "runs", "cpu", "wall", "bytes", *(["price"] if prices else [])]
    show.table(
        heads,
        [
            *(_row(each.cost, each.price, fields, prices) for each in rows[:top]),
            *([_total(each.cost, each.price, fields, prices) for each in total] if len(rows) > 1 else []),
        ],
        empty=f"no runs in {access.shown} in {days} days: workers add them every 10 s and when they stop",
    )
    if len(rows) > top:
        show.note(f"There are {len(rows) - top} more: add --top {len(rows)}")
    if rows and not prices:
        show.note("For prices set OUTLAST_PRICES, such as 'cpu_hour=0.04 gib=0.09 currency=EUR' (docs/observing.md)")


def day_text(day: int) -> str:
    """Return a day as a date."""
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()


def _row(cost: Cost, price: float, fields: list[str], prices: Prices) -> list[show.Cell]:
    named = {"kind": cost.kind, "tenant": cost.tenant or "-", "day": day_text(cost.day)}
    return [*(named[field] for field in fields), *_figures(cost, price, prices)]


def _total(cost: Cost, price: float, fields: list[str], prices: Prices) -> list[show.Cell]:
    return ["total", *("" for _ in fields[1:]), *_figures(cost, price, prices)]


def _figures(cost: Cost, price: float, prices: Prices) -> list[show.Cell]:
    figures: list[show.Cell] = [cost.runs, duration(cost.cpu), duration(cost.wall), size(cost.bytes)]
    return [*figures, prices.shown(price)] if prices else figures


def _document(cost: Cost, price: float, fields: list[str] | tuple[()]) -> dict[str, Any]:
    named = {"kind": cost.kind, "tenant": cost.tenant, "day": day_text(cost.day)}
    used = {"runs": cost.runs, "cpu": cost.cpu, "wall": cost.wall, "bytes": cost.bytes, "price": price}
    return {**{field: named[field] for field in fields}, **used}
