"""The ledger of the toolkit balances exactly when each key is one order, and each stock was taken in order of locks."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from outlast.demo.catalogue import PRODUCTS, STOCK, Account, Catalogue, OrderRow, Product, StockWrite
from outlast.demo.customers import PER_SECOND, ScriptSeen
from outlast.demo.ledger import balance
from outlast.demo.shop_ledger import ShopLedger, balance_shop


def order(name: str, product: int = 1, runs: int = 1) -> OrderRow:
    return OrderRow(id=name, product=product, item="cup", cents=100, runs=runs)


def write(token: int, stock: int, product: int = 1) -> StockWrite:
    return StockWrite(product=product, token=token, stock=stock)


ACCOUNT = Account(orders=(order("a"), order("b")), stocks={1: 5, 2: 5}, writes=(write(7, 4), write(9, 3)))
ANSWERS = {"a": {"payments.a"}, "b": {"payments.b"}}


def settled(
    account: Account = ACCOUNT,
    answers: dict[str, set[str]] | None = None,
    best_sellers: dict[str, int] | None = None,
    damaged: set[str] | None = None,
    script: ScriptSeen = ScriptSeen(),  # noqa: B008
) -> ShopLedger:
    return balance_shop(
        account,
        ANSWERS if answers is None else answers,
        replays=3,
        best_sellers={"cup": 2} if best_sellers is None else best_sellers,
        damaged=damaged or set(),
        script=script,
    )


def test_one_order_for_each_key_and_one_item_for_each_order_balances() -> None:
    ledger = settled()
    assert ledger == ShopLedger(keys=2, replays=3, sold=2)
    assert ledger.balances


def test_an_order_that_came_back_after_a_503_is_counted_and_balances() -> None:
    ledger = settled(structs.replace(ACCOUNT, orders=(order("a", runs=3), order("b"))))
    assert ledger.reruns == 2
    assert ledger.balances


@pytest.mark.parametrize(
    ("answers", "split"),
    [
        ({**ANSWERS, "a": {"payments.a", "payments.x"}}, ("a",)),
        ({**ANSWERS, "c": {"payments.c"}}, ("c",)),
        ({"a": {"payments.a"}}, ("b",)),
    ],
    ids=["two jobs of one key", "an answer without an order", "an order without an answer"],
)
def test_a_key_that_is_not_one_order_does_not_balance(answers: dict[str, set[str]], split: tuple[str, ...]) -> None:
    ledger = settled(answers=answers)
    assert ledger.split == split
    assert not ledger.balances


@pytest.mark.parametrize(
    "writes",
    [
        (write(7, 4),),
        (write(7, 4), write(9, 4)),
        (write(7, 4), write(9, 3), write(11, 5)),
        (write(7, -1), write(9, 3)),
        (write(7, 4), write(9, 3), write(11, 2)),
    ],
    ids=["an item not taken", "an update lost", "an old count", "below 0", "an item taken without an order"],
)
def test_a_stock_that_is_not_what_was_ordered_does_not_balance(writes: tuple[StockWrite, ...]) -> None:
    ledger = settled(structs.replace(ACCOUNT, writes=writes))
    assert ledger.miscounted == (PRODUCTS[0][0],)
    assert not ledger.balances


@pytest.mark.parametrize("best_sellers", [{}, {"cup": 1}, {"cup": 2, "bell": 1}])
def test_best_sellers_that_were_not_sold_so_often_do_not_balance(best_sellers: dict[str, int]) -> None:
    ledger = settled(best_sellers=best_sellers)
    assert ledger.misranked
    assert not ledger.balances


def test_an_invoice_without_its_digest_does_not_balance() -> None:
    ledger = settled(damaged={"b"})
    assert ledger.damaged == ("b",)
    assert not ledger.balances


def test_a_script_that_got_more_than_the_limit_does_not_balance() -> None:
    most = 2 * PER_SECOND + 1
    assert settled(script=ScriptSeen(admitted=most, refused=49, seconds=1.1)).balances
    over = settled(script=ScriptSeen(admitted=most + 1, refused=48, seconds=1.1))
    assert (over.limited, over.over_limit) == (48, 1)
    assert not over.balances


def test_a_stale_write_does_not_balance() -> None:
    ledger = settled(structs.replace(ACCOUNT, writes=(write(9, 4), write(7, 3))))
    assert ledger.stale_writes == 1
    assert not ledger.balances
    whole = balance({}, charges=[], repeats=0, invoices=[], emails=[], sales=[], shop=ledger)
    assert not whole.balances


def test_the_database_refuses_an_older_holder_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    shop = Catalogue(tmp_path / "catalogue.db")
    shop.make()
    assert shop.enter(1, token=7) == 1
    seen = shop.product(1)
    assert seen is not None
    assert shop.enter(1, token=9) == 1  # the first holder stands still; the next one has its turn
    assert shop.sell("late", seen, token=7) == 0
    assert shop.enter(1, token=7) == 0
    assert shop.count(seen, token=7) == 0
    assert shop.fence(1) == 9
    assert shop.sell("b", seen, token=9) == 1
    account = Catalogue(tmp_path / "catalogue.db").account()
    assert [row.id for row in account.orders] == ["b"]
    assert account.writes == (write(9, STOCK - 1),)
    assert balance_shop(
        account, {"b": {"payments.b"}}, replays=0, best_sellers={PRODUCTS[0][0]: 1}, damaged=[]
    ).balances


def test_an_order_has_its_item_once_and_each_return_is_counted(tmp_path: Path) -> None:
    shop = Catalogue(tmp_path / "catalogue.db")
    shop.make()
    assert shop.order("a") is None
    shop.enter(2, token=1)
    shop.sell("a", Product(id=2, name="Bicycle bell", cents=1250, stock=STOCK), token=1)
    assert shop.order("a") == OrderRow(id="a", product=2, item="Bicycle bell", cents=1250, runs=2)
    assert shop.product(99) is None
