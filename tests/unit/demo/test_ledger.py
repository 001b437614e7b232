"""The demo's ledger balances exactly when each accepted order was charged and counted once, invoiced and mailed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from outlast.demo.analytics import Sale, record_sale, sales_of
from outlast.demo.journal import Tail
from outlast.demo.ledger import Charge, Ledger, balance

ACCEPTED = {"a": 100, "b": 250}
CHARGES = [Charge("a", 100), Charge("b", 250)]


def sale(order: str, cents: int, event: str = "") -> Sale:
    return Sale(event=event or f"{order}-paid", order=order, cents=cents, at=1.0)


SALES = [sale("a", 100), sale("b", 250)]


def settled(
    accepted: dict[str, int] | None = None,
    charges: list[Charge] | None = None,
    invoices: list[str] | None = None,
    emails: list[str] | None = None,
    sales: list[Sale] | None = None,
) -> Ledger:
    return balance(
        ACCEPTED if accepted is None else accepted,
        charges=CHARGES if charges is None else charges,
        repeats=3,
        invoices=["a", "b"] if invoices is None else invoices,
        emails=["a", "b"] if emails is None else emails,
        sales=SALES if sales is None else sales,
    )


def test_all_done_once_balances() -> None:
    ledger = settled()
    assert ledger.balances
    assert (ledger.accepted, ledger.charges, ledger.invoices, ledger.emails, ledger.repeats) == (2, 2, 2, 2, 3)
    assert (ledger.sales, ledger.extra_sales, ledger.double_sales) == (2, 0, ())
    assert ledger.lost == ledger.double_charges == ledger.wrong_amounts == ledger.strangers == ()


def test_a_run_without_orders_balances() -> None:
    assert settled({}, [], [], [], []).balances


@pytest.mark.parametrize(
    ("charges", "invoices", "emails", "sales"),
    [
        (CHARGES[:1], None, None, None),
        (None, ["a"], None, None),
        (None, None, ["a"], None),
        (None, None, None, SALES[:1]),
        (CHARGES[:1], ["a"], ["a"], SALES[:1]),
    ],
    ids=["not charged", "no invoice", "no e-mail", "no sale", "nothing at all"],
)
def test_an_order_that_stopped_on_the_way_is_lost(
    charges: list[Charge] | None, invoices: list[str] | None, emails: list[str] | None, sales: list[Sale] | None
) -> None:
    ledger = settled(charges=charges, invoices=invoices, emails=emails, sales=sales)
    assert ledger.lost == ("b",)
    assert not ledger.balances


def test_money_taken_twice_for_one_order_does_not_balance() -> None:
    ledger = settled(charges=[*CHARGES, Charge("a", 100)])
    assert ledger.double_charges == ("a",)
    assert not ledger.balances


def test_another_amount_than_ordered_does_not_balance() -> None:
    for ledger in settled(charges=[Charge("a", 101), CHARGES[1]]), settled(sales=[sale("a", 101), SALES[1]]):
        assert ledger.wrong_amounts == ("a",)
        assert not ledger.balances


@pytest.mark.parametrize(
    ("charges", "invoices", "emails", "sales"),
    [
        ([*CHARGES, Charge("x", 5)], None, None, None),
        (None, ["a", "b", "x"], None, None),
        (None, None, ["a", "b", "x"], None),
        (None, None, None, [*SALES, sale("x", 5)]),
    ],
    ids=["charged", "invoiced", "mailed", "counted"],
)
def test_what_no_client_was_promised_does_not_balance(
    charges: list[Charge] | None, invoices: list[str] | None, emails: list[str] | None, sales: list[Sale] | None
) -> None:
    ledger = settled(charges=charges, invoices=invoices, emails=emails, sales=sales)
    assert ledger.strangers == ("x",)
    assert ledger.wrong_amounts == ()
    assert not ledger.balances


def test_a_second_copy_of_an_email_is_shown_and_balances() -> None:
    ledger = settled(emails=["a", "b", "b"])
    assert (ledger.emails, ledger.extra_emails) == (3, 1)
    assert ledger.balances


def test_an_event_that_is_recorded_again_counts_once_and_balances(tmp_path: Path) -> None:
    for order in ("a", "b", "a"):
        record_sale(tmp_path / "sales", event=f"{order}-paid", order=order, cents=ACCEPTED[order])
    lines = [msgspec.json.decode(line, type=Sale) for line in Tail(tmp_path / "sales").lines()]
    assert sales_of(lines) == lines[:2]
    ledger = settled(sales=lines)
    assert (ledger.sales, ledger.extra_sales) == (2, 1)
    assert ledger.balances


def test_an_order_that_two_events_tell_of_does_not_balance() -> None:
    ledger = settled(sales=[*SALES, sale("a", 100, "another")])
    assert ledger.double_sales == ("a",)
    assert not ledger.balances


def test_orders_are_named_in_their_order() -> None:
    assert settled({"c": 1, "a": 1, "b": 1}, [], [], [], []).lost == ("a", "b", "c")
