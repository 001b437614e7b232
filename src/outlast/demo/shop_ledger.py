"""The part of the ledger that holds the toolkit to its promises: keys, stock, fences, best sellers, invoices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from itertools import pairwise

from msgspec import Struct

from outlast.demo.catalogue import PRODUCTS, Account, StockWrite
from outlast.demo.customers import ScriptSeen

__all__ = ["ShopLedger", "balance_shop"]


class ShopLedger(Struct, frozen=True, kw_only=True):
    """The counts of one run, and all that does not match.

    keys: idempotency keys that were answered 202. replays: answers that were the stored one. reruns: requests that came
    as far as the database again, after an answer 503; the order takes its item once. sold: items taken from the stock.
    """

    keys: int = 0
    replays: int = 0
    reruns: int = 0
    sold: int = 0
    split: tuple[str, ...] = ()
    """Keys whose answers name several jobs, or that have no order in the database, or orders without an answer."""
    miscounted: tuple[str, ...] = ()
    """Products whose stock is not what it was at the start less their orders, or was ever below 0."""
    misranked: tuple[str, ...] = ()
    """Products of which the best sellers say another number than the orders."""
    damaged: tuple[str, ...] = ()
    """Orders whose invoice is not in the object store, or has not the digest that was written down."""
    limited: int = 0
    """Orders of a script that the limiter refused."""
    over_limit: int = 0
    """Orders of the script that the limiter admitted beyond its limit."""
    stale_refused: int = 0
    """Writes that the database refused to a clerk who had stood still."""
    stale_writes: int = 0
    """Writes of a stock that were accepted from an older holder of its lock than the one before."""

    @property
    def balances(self) -> bool:
        """Whether each key is one order, and each stock has lost exactly its orders, under locks in their order."""
        wrong = self.split or self.miscounted or self.misranked or self.damaged
        return not (wrong or self.over_limit or self.stale_writes)


def balance_shop(
    account: Account,
    answers: Mapping[str, Set[str]],
    *,
    replays: int,
    script: ScriptSeen = ScriptSeen(),  # noqa: B008 - it cannot be changed
    stale_refused: int = 0,
    best_sellers: Mapping[str, int],
    damaged: Iterable[str],
) -> ShopLedger:
    """Compare the shop's database with the answers to the customers, and with the board of best sellers.

    answers: the jobs that each key was told. damaged: orders whose invoice is missing or wrong.
    """
    ordered = {order.id for order in account.orders}
    split = {key for key, jobs in answers.items() if len(jobs) != 1} | (ordered ^ answers.keys())
    writes: dict[int, list[StockWrite]] = {product: [] for product in account.stocks}
    for write in account.writes:
        writes[write.product].append(write)
    orders = Counter(order.product for order in account.orders)
    return ShopLedger(
        keys=len(answers),
        replays=replays,
        reruns=sum(order.runs - 1 for order in account.orders),
        sold=sum(stock - _left(stock, writes[product]) for product, stock in account.stocks.items()),
        split=tuple(sorted(split)),
        miscounted=_names(
            product for product, stock in account.stocks.items() if not _right(stock, orders[product], writes[product])
        ),
        misranked=tuple(
            sorted(item for item, _ in Counter(order.item for order in account.orders).items() ^ best_sellers.items())
        ),
        damaged=tuple(sorted(damaged)),
        limited=script.refused,
        over_limit=script.over,
        stale_refused=stale_refused,
        stale_writes=sum(
            later.token <= earlier.token for of_one in writes.values() for earlier, later in pairwise(of_one)
        ),
    )


def _right(stock: int, orders: int, writes: list[StockWrite]) -> bool:
    return _left(stock, writes) == stock - orders and all(write.stock >= 0 for write in writes)


def _left(stock: int, writes: list[StockWrite]) -> int:
    return writes[-1].stock if writes else stock


def _names(products: Iterable[int]) -> tuple[str, ...]:
    return tuple(PRODUCTS[product - 1][0] for product in sorted(products))
