"""What resources cost: the table of the setting `prices`, and the price of what runs have used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from outlast.core.history import Cost
from outlast.core.kinds import name_of

__all__ = ["PRICES_PATTERN", "Prices"]

_NAME: Final = r"(?:[A-Za-z_][A-Za-z0-9_.-]{0,127}:)?(?:cpu_hour|wall_hour|gib|runs_1000)"
_NUMBER: Final = r"(?:\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})"
_PART: Final = rf"(?:{_NAME}={_NUMBER}|currency=[A-Za-z\u20ac\u00a3$]{{1,8}})"
PRICES_PATTERN: Final = rf"^\s*(?:{_PART}(?:[\s,]+{_PART})*)?[\s,]*\Z"
"""What the setting may be: names with numbers, between them spaces or commas."""

_UNITS: Final[Mapping[str, tuple[str, float]]] = {
    "cpu_hour": ("cpu", 3600.0),
    "wall_hour": ("wall", 3600.0),
    "gib": ("bytes", float(2**30)),
    "runs_1000": ("runs", 1000.0),
}
"""By name of a price, the field of a cost and how much of it costs the price."""


class Prices(Struct, frozen=True):
    """The prices of one app. general: by name of a price; of_kinds: by kind, in place of the general ones."""

    general: dict[str, float] = {}
    of_kinds: dict[str, dict[str, float]] = {}
    currency: str = ""

    @classmethod
    def of(cls, text: str) -> Prices:
        """Return the prices of a setting that fits PRICES_PATTERN."""
        general: dict[str, float] = {}
        of_kinds: dict[str, dict[str, float]] = {}
        currency = ""
        for part in text.replace(",", " ").split():
            name, _, value = part.partition("=")
            kind, _, price = name.rpartition(":")
            if name == "currency":
                currency = value
            elif kind:
                of_kinds.setdefault(kind, {})[price] = float(value)
            else:
                general[price] = float(value)
        return cls(general, of_kinds, currency)

    def __bool__(self) -> bool:
        return bool(self.general or self.of_kinds)

    def price(self, cost: Cost) -> float:
        """Return the price of what the runs of one kind have used, in the currency."""
        prices = {**self.general, **self.of_kinds.get(name_of(cost.kind), {})}
        used: dict[str, float] = {
            name: getattr(cost, field) / unit for name, (field, unit) in _UNITS.items() if name in prices
        }
        return sum(prices[name] * amount for name, amount in used.items())

    def shown(self, amount: float, *, bare: bool = False) -> str:
        """Return an amount of money as text: two digits, more for what is below a hundredth. bare: no currency."""
        digits = 2 if amount >= 0.01 or amount == 0 else 6
        return f"{amount:,.{digits}f}" + ("" if bare or not self.currency else f" {self.currency}")
