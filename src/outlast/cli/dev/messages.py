"""What the parent of `outlast dev` and its child say to each other."""

from __future__ import annotations

from typing import Final, Literal, get_args

from msgspec import Struct

__all__ = ["DevChildConfig", "Order", "order", "orders"]

Order = Literal["stop", "hurry", "reload"]
"""stop: drain, then leave. hurry: leave now. reload: leave for a successor, with little grace."""

_LETTERS: Final[dict[str, Order]] = {name[0]: name for name in get_args(Order)}


class DevChildConfig(Struct, frozen=True, kw_only=True):
    """What the child is started with. first: nothing was shown yet."""

    target: str
    jobs: str | None
    port_fd: int
    orders_fd: int
    first: bool


def order(what: Order) -> bytes:
    """Return an order as it goes through the pipe."""
    return what[0].encode()


def orders(got: bytes) -> list[Order]:
    """Return the orders in what came out of the pipe; its end means that the parent is gone: hurry."""
    return [_LETTERS[letter] for letter in got.decode()] if got else ["hurry"]
