"""The customers of the demo: they order at a constant rate and repeat each request until it is answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2
from msgspec import Struct

from outlast.demo.catalogue import PRODUCTS

__all__ = [
    "OrderAnswer",
    "OrderRefused",
    "OrderRequest",
    "PER_SECOND",
    "ScriptSeen",
    "make_orders",
    "send_orders",
    "send_script",
]

_COUNTRIES = ("at", "ch", "de", "fr", "us")
PER_SECOND = 5
"""Orders that the shop takes of one client in a second."""
SCRIPT = 60
"""Orders that a script sends at once."""
IMPATIENT = 4
"""Of so many customers one clicks twice, and one sends the order again when it has its answer."""


class OrderRefused(Exception):
    """The shop refused an order, and would refuse it again."""


class OrderRequest(Struct, frozen=True, kw_only=True):
    """The order of one customer. product: what is put into the basket."""

    id: str
    product: int
    country: str
    email: str


class OrderAnswer(Struct, frozen=True, kw_only=True):
    """An answer 202 to an order. replayed: the answer to an earlier request with its key. seconds: of this request."""

    order: str
    job: str
    cents: int
    replayed: bool
    seconds: float


class ScriptSeen(Struct, frozen=True, kw_only=True):
    """What became of the orders of a script. admitted: they came to the shop, which found no basket. refused: 429."""

    admitted: int = 0
    refused: int = 0
    seconds: float = 0.0

    @property
    def over(self) -> int:
        """The orders that were admitted beyond the limit."""
        return max(self.admitted - PER_SECOND - int(self.seconds * PER_SECOND) - 1, 0)


Answered = Callable[[OrderAnswer], None]


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
    async with httpx2.AsyncHTTPTransport() as connections, asyncio.TaskGroup() as group:
        start = time.monotonic()
        for number, order in enumerate(orders):
            await asyncio.sleep(start + number * gap - time.monotonic())
            # A client for each customer, for its cookie; they share the connections.
            client = httpx2.AsyncClient(base_url=shop, timeout=10.0, transport=connections)
            group.create_task(_Customer(client, answered).buy(order, number % IMPATIENT))


async def send_script(shop: str) -> ScriptSeen:
    """Send as many orders at once as a script might, without a basket; return what the limiter let through."""
    async with httpx2.AsyncClient(base_url=shop, timeout=30.0) as client:
        begin = time.monotonic()
        answers = await asyncio.gather(*(_send_empty(client, number) for number in range(SCRIPT)))
    told = [answer for answer in answers if answer in (422, 429)]
    return ScriptSeen(admitted=told.count(422), refused=told.count(429), seconds=time.monotonic() - begin)


async def _send_empty(client: httpx2.AsyncClient, number: int) -> int:
    body = {"id": f"script-{number}", "country": "us", "email": "script@example.com"}
    try:
        return (await client.post("/orders", json=body, headers={"Idempotency-Key": f'"script-{number}"'})).status_code
    except httpx2.TransportError:
        return 0


class _Customer:
    def __init__(self, client: httpx2.AsyncClient, answered: Answered) -> None:
        self._client = client
        self._answered = answered

    async def buy(self, order: OrderRequest, habit: int) -> None:
        """Look at the product and order it; if it is sold out, another one."""
        product = order.product
        await self._choose(product)
        while not await self._order(order, habit):
            product = product % len(PRODUCTS) + 1
            await self._choose(product)

    async def _choose(self, product: int) -> None:
        await self._insist("GET", f"/products/{product}")
        await self._insist("PUT", "/basket", json={"product": product})

    async def _order(self, order: OrderRequest, habit: int) -> bool:
        """Order, some customers twice at once, or once more later; return False if it is sold out."""
        clicks = [self._send(order) for _ in range(2 if habit == 1 else 1)]
        bought = all(await asyncio.gather(*clicks))
        if bought and habit == 2:
            await self._send(order)
        return bought

    async def _send(self, order: OrderRequest) -> bool:
        # The key is the id of the order: however often it is sent, it is one order.
        headers = {"Idempotency-Key": f'"{order.id}"'}
        body = {"id": order.id, "country": order.country, "email": order.email}
        answer, seconds = await self._insist("POST", "/orders", json=body, headers=headers)
        if answer.status_code == 410:
            return False
        told = answer.json()
        replayed = "idempotent-replayed" in answer.headers
        self._answered(
            OrderAnswer(order=order.id, job=told["job"], cents=told["cents"], replayed=replayed, seconds=seconds)
        )
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
