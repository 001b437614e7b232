"""The demo's verdict: what the client was promised against what four independent witnesses saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

__all__ = ["Charge", "Ledger", "balance"]


class Charge(Struct, frozen=True):
    """Money that the payment provider took for one order."""

    order: str
    cents: int


class Ledger(Struct, frozen=True, kw_only=True):
    """The counts of one run, and by name every order that does not add up.

    accepted: orders whose client was answered 202. repeats: requests that the provider recognised by their key and did
    not charge again. extra_emails: second copies; jobs run at least once and SMTP knows no key, so a worker killed
    between the mail server's answer and its own report sends one again. They are shown, and do not unbalance.
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
    """Charged with another amount than was ordered."""
    strangers: tuple[str, ...] = ()
    """Charged, invoiced or mailed though no client was told that the order is accepted."""

    @property
    def balances(self) -> bool:
        """Every accepted order was charged once, rightly, invoiced and mailed, and nothing else was."""
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
