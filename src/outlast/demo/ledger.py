"""The demo's ledger: compare the orders that were accepted with charges, invoices, e-mails and sales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from outlast.demo.analytics import Sale, sales_of
from outlast.demo.shop_ledger import ShopLedger

__all__ = ["Charge", "Ledger", "balance"]


class Charge(Struct, frozen=True):
    """A charge of the payment provider for one order."""

    order: str
    cents: int


class Ledger(Struct, frozen=True, kw_only=True):
    """The counts of one run, and the ids of all orders that do not match.

    accepted: orders that were answered 202. repeats: requests that the provider recognised by their key and did not
    charge again. extra_emails: second copies; jobs run at least once and SMTP has no idempotency key, so a worker that
    is killed between the mail server's answer and the settlement sends one again. extra_sales:
    second lines of an event in the analytics, which count it once. Neither unbalances the ledger.
    """

    accepted: int
    charges: int
    repeats: int
    invoices: int
    emails: int
    extra_emails: int
    sales: int
    extra_sales: int
    lost: tuple[str, ...] = ()
    """Accepted, but not charged, or without an invoice, an e-mail or a sale in the analytics."""
    double_charges: tuple[str, ...] = ()
    double_sales: tuple[str, ...] = ()
    """Told by two different events."""
    wrong_amounts: tuple[str, ...] = ()
    """Charged or counted with an amount that differs from the order."""
    strangers: tuple[str, ...] = ()
    """Charged, invoiced, mailed or counted although no client was answered 202."""
    shop: ShopLedger = ShopLedger()
    """What the toolkit has promised."""

    @property
    def balances(self) -> bool:
        """Whether exactly the accepted orders were charged and counted, once and rightly, invoiced and mailed."""
        wrong = self.lost or self.double_charges or self.double_sales or self.wrong_amounts or self.strangers
        return not wrong and self.shop.balances


def balance(
    accepted: Mapping[str, int],
    *,
    charges: Sequence[Charge],
    repeats: int,
    invoices: Iterable[str],
    emails: Sequence[str],
    sales: Sequence[Sale],
    shop: ShopLedger = ShopLedger(),  # noqa: B008 - it cannot be changed
) -> Ledger:
    """Compare the accepted orders (id: cents) with charges, invoices and e-mails (by order id), and recorded sales.

    shop: what was found of the toolkit.
    """
    counted = sales_of(sales)
    sold = Counter(sale.order for sale in counted)
    charged = Counter(charge.order for charge in charges)
    mailed = Counter(emails)
    invoiced = set(invoices)
    amounts = [(charge.order, charge.cents) for charge in charges] + [(sale.order, sale.cents) for sale in counted]
    wrong = {order for order, cents in amounts if accepted.get(order, cents) != cents}
    done = charged.keys() & invoiced & mailed.keys() & sold.keys()
    return Ledger(
        accepted=len(accepted),
        charges=len(charges),
        repeats=repeats,
        invoices=len(invoiced),
        emails=len(emails),
        extra_emails=len(emails) - len(mailed),
        sales=len(counted),
        extra_sales=len(sales) - len(counted),
        lost=_sorted(accepted.keys() - done),
        double_charges=_sorted(order for order, times in charged.items() if times > 1),
        double_sales=_sorted(order for order, times in sold.items() if times > 1),
        wrong_amounts=_sorted(wrong),
        strangers=_sorted((charged.keys() | invoiced | mailed.keys() | sold.keys()) - accepted.keys()),
        shop=shop,
    )


def _sorted(orders: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(orders))
