"""The messages between the parent and the child process of `outlast dev`."""

from __future__ import annotations

from typing import Final, Literal, get_args

from msgspec import Struct

__all__ = ["DevChildConfig", "Order", "decode", "encode"]

Order = Literal["stop", "hurry", "reload"]
"""stop: drain, then exit. hurry: exit without grace. reload: exit for a successor, with a short grace."""

_ORDERS: Final[dict[str, Order]] = {name[0]: name for name in get_args(Order)}


class DevChildConfig(Struct, frozen=True, kw_only=True):
    """The arguments of the child. first: the banner was not printed yet."""

    target: str
    jobs: str | None
    port_fd: int
    orders_fd: int
    first: bool


def encode(order: Order) -> bytes:
    """Return an order as bytes for the pipe."""
    return order[0].encode()


def decode(data: bytes) -> list[Order]:
    """Return the orders read from the pipe; no bytes mean that the parent has died: hurry."""
    return [_ORDERS[letter] for letter in data.decode()] if data else ["hurry"]
