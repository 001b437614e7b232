"""The customers of the demo: they send orders at a constant rate and repeat each one until the answer is 202."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence

import httpx2
from msgspec import Struct, to_builtins

__all__ = ["OrderRefused", "OrderRequest", "make_orders", "send_orders"]

_ITEMS = ("Espresso machine", "Bicycle bell", "Desk lamp", "Crème brûlée torch", "Chess set", "Hiking boots", "Teapot")
_COUNTRIES = ("at", "ch", "de", "fr", "us")


class OrderRefused(Exception):
    """The shop refused an order, and would refuse it again."""


class OrderRequest(Struct, frozen=True, kw_only=True):
    """The body of one order request."""

    id: str
    item: str
    cents: int
    country: str
    email: str


def make_orders(count: int, rng: random.Random, *, first: int = 1) -> Iterator[OrderRequest]:
    """Yield `count` different orders, numbered from `first`."""
    for number in range(first, first + count):
        yield OrderRequest(
            id=f"order-{number:05d}",
            item=rng.choice(_ITEMS),
            cents=rng.randrange(500, 50_000),
            country=rng.choice(_COUNTRIES),
            email=f"customer{number}@example.com",
        )


async def send_orders(
    shop: str, orders: Sequence[OrderRequest], *, seconds: float, accepted: Callable[[OrderRequest, float], None]
) -> None:
    """Send the orders to the shop at URL `shop`, spread evenly over `seconds`.

    accepted: called with each accepted order and the seconds of its answer. Raise OrderRefused in an exception group.
    """
    gap = seconds / max(len(orders), 1)
    async with httpx2.AsyncClient(base_url=shop, timeout=10.0) as client, asyncio.TaskGroup() as group:
        start = time.monotonic()
        for number, order in enumerate(orders):
            await asyncio.sleep(start + number * gap - time.monotonic())
            group.create_task(_send(client, order, accepted))


async def _send(
    client: httpx2.AsyncClient, order: OrderRequest, accepted: Callable[[OrderRequest, float], None]
) -> None:
    while True:
        begin = time.monotonic()
        wait = 0.5
        try:
            answer = await client.post("/orders", json=to_builtins(order))
        except httpx2.TransportError:
            pass  # the order may have been accepted or not; its own id makes the repeat safe
        else:
            if answer.status_code == 202:
                accepted(order, time.monotonic() - begin)
                return
            if answer.status_code not in (429, 503):
                raise OrderRefused(f"order {order.id}: {answer.status_code} {answer.text}")
            wait = float(answer.headers.get("Retry-After", wait))
        await asyncio.sleep(wait)
