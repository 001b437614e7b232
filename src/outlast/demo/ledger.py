"""The demo's ledger: compare the orders that were accepted with charges, invoices and e-mails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

__all__ = ["Charge", "Ledger", "balance"]


class Charge(Struct, frozen=True):
    """A charge of the payment provider for one order."""

    order: str
    cents: int


class Ledger(Struct, frozen=True, kw_only=True):
    """The counts of one run, and the ids of all orders that do not match.

    accepted: orders that were answered 202. repeats: requests that the provider recognised by their key and did not
    charge again. extra_emails: second copies; jobs run at least once and SMTP has no idempotency key, so a worker that
    is killed between the mail server's answer and the settlement sends one again. They do not unbalance the ledger.
    """

    accepted: int
    charges: int
    repeats: int
    invoices: int
    emails: int
    extra_emails: int
    lost: tuple[str, ...] = ()
    """Accepted, but not charged, without an invoice, or without an e-mail."""
    double_charges: tuple[str, ...] = ()
    wrong_amounts: tuple[str, ...] = ()
    """Charged with an amount that differs from the order."""
    strangers: tuple[str, ...] = ()
    """Charged, invoiced or mailed although no client was answered 202."""

    @property
    def balances(self) -> bool:
        """Whether exactly the accepted orders were charged, once and with the right amount, invoiced and mailed."""
        return not (self.lost or self.double_charges or self.wrong_amounts or self.strangers)


def balance(
    accepted: Mapping[str, int],
    *,
    charges: Sequence[Charge],
    repeats: int,
    invoices: Iterable[str],
    emails: Sequence[str],
) -> Ledger:
    """Compare the accepted orders (id: cents) with charges, invoices and e-mails (by order id)."""
    charged = Counter(charge.order for charge in charges)
    mailed = Counter(emails)
    invoiced = set(invoices)
    wrong = {charge.order for charge in charges if accepted.get(charge.order, charge.cents) != charge.cents}
    return Ledger(
        accepted=len(accepted),
        charges=len(charges),
        repeats=repeats,
        invoices=len(invoiced),
        emails=len(emails),
        extra_emails=len(emails) - len(mailed),
        lost=_sorted(o for o in accepted if not (o in charged and o in invoiced and o in mailed)),
        double_charges=_sorted(order for order, times in charged.items() if times > 1),
        wrong_amounts=_sorted(wrong),
        strangers=_sorted((charged.keys() | invoiced | mailed.keys()) - accepted.keys()),
    )


def _sorted(orders: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(orders))
