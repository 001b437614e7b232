"""The demo's ledger balances exactly when every accepted order was charged once, rightly, invoiced and mailed."""

from __future__ import annotations

import pytest

from outlast.demo.ledger import Charge, Ledger, balance

ACCEPTED = {"a": 100, "b": 250}
CHARGES = [Charge("a", 100), Charge("b", 250)]


def settled(
    accepted: dict[str, int] | None = None,
    charges: list[Charge] | None = None,
    invoices: list[str] | None = None,
    emails: list[str] | None = None,
) -> Ledger:
    return balance(
        ACCEPTED if accepted is None else accepted,
        charges=CHARGES if charges is None else charges,
        repeats=3,
        invoices=["a", "b"] if invoices is None else invoices,
        emails=["a", "b"] if emails is None else emails,
    )


def test_all_done_once_balances() -> None:
    ledger = settled()
    assert ledger.balances
    assert (ledger.accepted, ledger.charges, ledger.invoices, ledger.emails, ledger.repeats) == (2, 2, 2, 2, 3)
    assert ledger.lost == ledger.double_charges == ledger.wrong_amounts == ledger.strangers == ()


def test_a_run_without_orders_balances() -> None:
    assert settled({}, [], [], []).balances


@pytest.mark.parametrize(
    ("charges", "invoices", "emails"),
    [(CHARGES[:1], None, None), (None, ["a"], None), (None, None, ["a"]), (CHARGES[:1], ["a"], ["a"])],
    ids=["not charged", "no invoice", "no e-mail", "nothing at all"],
)
def test_an_order_that_stopped_on_the_way_is_lost(
    charges: list[Charge] | None, invoices: list[str] | None, emails: list[str] | None
) -> None:
    ledger = settled(charges=charges, invoices=invoices, emails=emails)
    assert ledger.lost == ("b",)
    assert not ledger.balances


def test_money_taken_twice_for_one_order_does_not_balance() -> None:
    ledger = settled(charges=[*CHARGES, Charge("a", 100)])
    assert ledger.double_charges == ("a",)
    assert not ledger.balances


def test_another_amount_than_ordered_does_not_balance() -> None:
    ledger = settled(charges=[Charge("a", 101), CHARGES[1]])
    assert ledger.wrong_amounts == ("a",)
    assert not ledger.balances


@pytest.mark.parametrize(
    ("charges", "invoices", "emails"),
    [([*CHARGES, Charge("x", 5)], None, None), (None, ["a", "b", "x"], None), (None, None, ["a", "b", "x"])],
    ids=["charged", "invoiced", "mailed"],
)
def test_what_no_client_was_promised_does_not_balance(
    charges: list[Charge] | None, invoices: list[str] | None, emails: list[str] | None
) -> None:
    ledger = settled(charges=charges, invoices=invoices, emails=emails)
    assert ledger.strangers == ("x",)
    assert ledger.wrong_amounts == ()
    assert not ledger.balances


def test_a_second_copy_of_an_email_is_shown_and_balances() -> None:
    ledger = settled(emails=["a", "b", "b"])
    assert (ledger.emails, ledger.extra_emails) == (3, 1)
    assert ledger.balances


def test_orders_are_named_in_their_order() -> None:
    assert settled({"c": 1, "a": 1, "b": 1}, [], [], []).lost == ("a", "b", "c")
