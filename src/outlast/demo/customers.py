"""The customers of the demo: they order at a constant rate and repeat each request until it is answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2
from msgspec import Struct, to_builtins

from outlast.demo.catalogue import PRODUCTS

__all__ = ["Answer", "OrderRefused", "OrderRequest", "make_orders", "send_orders"]

_COUNTRIES = ("at", "ch", "de", "fr", "us")
IMPATIENT = 4
"""Of so many customers one clicks twice, and one sends the order again when it has its answer."""


class OrderRefused(Exception):
    """The shop refused an order, and would refuse it again."""


class OrderRequest(Struct, frozen=True, kw_only=True):
    """The body of one order request."""

    id: str
    product: int
    country: str
    email: str


class Answer(Struct, frozen=True, kw_only=True):
    """An answer 202 to an order. replayed: the answer to an earlier request with its key. seconds: of this request."""

    order: str
    job: str
    cents: int
    replayed: bool
    seconds: float


Answered = Callable[[Answer], None]


def make_orders(count: int, rng: random.Random, *, first: int = 1) -> Iterator[OrderRequest]:
    """Yield `count` different orders, numbered from `first`."""
    for number in range(first, first + count):
        yield OrderRequest(
            id=f"order-{number:05d}",
            product=rng.randint(1, len(PRODUCTS)),
            country=rng.choice(_COUNTRIES),
            email=f"customer{number}@example.com",
        )


async def send_orders(shop: str, orders: Sequence[OrderRequest], *, seconds: float, answered: Answered) -> None:
    """Send the orders to the shop at URL `shop`, spread evenly over `seconds`.

    answered: called with each answer 202; an order that is sent again has several. Raise OrderRefused in an exception
    group.
    """
    gap = seconds / max(len(orders), 1)
    async with httpx2.AsyncClient(base_url=shop, timeout=10.0) as client, asyncio.TaskGroup() as group:
        start = time.monotonic()
        for number, order in enumerate(orders):
            await asyncio.sleep(start + number * gap - time.monotonic())
            group.create_task(_Customer(client, answered).buy(order, number % IMPATIENT))


class _Customer:
    def __init__(self, client: httpx2.AsyncClient, answered: Answered) -> None:
        self._client = client
        self._answered = answered

    async def buy(self, order: OrderRequest, habit: int) -> None:
        """Look at the product and order it; if it is sold out, another one."""
        while not await self._order(await self._choose(order), habit):
            order = OrderRequest(
                id=order.id, product=order.product % len(PRODUCTS) + 1, country=order.country, email=order.email
            )

    async def _choose(self, order: OrderRequest) -> OrderRequest:
        await self._insist("GET", f"/products/{order.product}")
        return order

    async def _order(self, order: OrderRequest, habit: int) -> bool:
        """Order, some customers twice at once, or once more later; return False if it is sold out."""
        clicks = [self._send(order) for _ in range(2 if habit == 1 else 1)]
        bought = all(await asyncio.gather(*clicks))
        if bought and habit == 2:
            await self._send(order)
        return bought

    async def _send(self, order: OrderRequest) -> bool:
        # The key is the id of the order: however often it is sent, it is one order.
        headers = {"Idempotency-Key": f'"{order.id}"', "X-Customer": order.email}
        answer, seconds = await self._insist("POST", "/orders", json=to_builtins(order), headers=headers)
        if answer.status_code == 410:
            return False
        told = answer.json()
        replayed = "idempotent-replayed" in answer.headers
        self._answered(Answer(order=order.id, job=told["job"], cents=told["cents"], replayed=replayed, seconds=seconds))
        return True

    async def _insist(self, method: str, path: str, **request: Any) -> tuple[httpx2.Response, float]:
        """Repeat a request until it is answered; return the answer and its seconds."""
        while True:
            begin = time.monotonic()
            wait = 0.5
            try:
                answer = await self._client.request(method, path, **request)
            except httpx2.TransportError:
                pass  # it may have been done or not; the key makes the repeat safe
            else:
                if answer.is_success or answer.status_code == 410:
                    return answer, time.monotonic() - begin
                if answer.status_code not in (409, 429, 503):
                    raise OrderRefused(f"{method} {path}: {answer.status_code} {answer.text}")
                wait = float(answer.headers.get("Retry-After", wait))
            await asyncio.sleep(wait)
