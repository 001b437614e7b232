"""The order shop, written as a FastAPI developer would write it."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from functools import cache
from typing import Annotated

import httpx2
from fastapi import Depends, FastAPI, HTTPException, Query, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from outlast import (
    Breaker,
    Context,
    Exponential,
    GiveUp,
    LockLease,
    Outlast,
    Retry,
    Session,
    Settings,
    Snooze,
    ToolkitAway,
)
from outlast.demo import pieces
from outlast.demo.analytics import record_sale
from outlast.demo.catalogue import Catalogue, OrderRow, Product
from outlast.demo.customers import PER_SECOND
from outlast.demo.invoice import draw_invoice
from outlast.demo.journal import Journal
from outlast.demo.run_files import run_files
from outlast.fastapi import (
    Idempotency,
    SessionMiddleware,
    by_credentials,
    current_session,
    install,
    rate_limit,
    require_idempotency_key,
)

__all__ = ["Order", "Wish", "app", "count_sale", "render_invoice", "send_receipt", "shop", "take_payment"]

# The longest wait between two runs is the longest delay of a payment when the provider is up again. A job is retried
# for 15 minutes with any number of attempts, so an outage costs time and no order.
OUTAGE = Retry(attempts=10_000, backoff=Exponential(base=0.25, cap=2.0), within=15 * 60)


class Choice(BaseModel):
    """What a customer puts into the basket."""

    product: int


class Wish(BaseModel):
    """What a customer orders with. id: chosen by the customer, so that a repeated request is the same order."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    country: Annotated[str, Field(pattern=r"^[a-z]{2}$")]
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=120)]


class Order(Wish):
    """An order that has its item: the arguments of the jobs."""

    product: int
    item: str
    cents: int


app = FastAPI(title="Order shop")
shop = Outlast("shop", settings=Settings(processes=2))  # OUTLAST_URL names the store
orders = shop.exchange("orders", type="topic")  # on RabbitMQ if OUTLAST_AMQP_URL names one
best_sellers = shop.board("best-sellers")


@cache
def catalogue() -> Catalogue:
    """Return the shop's database."""
    return Catalogue(run_files().catalogue)


@cache
def provider() -> httpx2.AsyncClient:
    """Return the HTTP client of this process, which keeps connections open between payments."""
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{run_files().provider}", timeout=5.0)


# Ten failures of the last twenty calls of a process open the breaker. Payments then wait in their queue, and one probe
# every 2 seconds, of all processes together, finds out when the provider is up again. The provider loses an answer in
# eight even when it is up, more than the tenth of the calls that retries may be by default. A probe whose worker
# is killed is replaced after 4 seconds.
payments = shop.guard(
    "payments",
    timeout=2,
    retry=Retry(attempts=3, backoff=Exponential(base=0.2, cap=1.0)),
    budget=0.25,
    breaker=Breaker(window=20, minimum=10, open_for=2, probe_lease=4, ramp=4),
)
# More payments at once would only make the provider slower.
shop.queue("payments", concurrency=40, needs=[payments])


@shop.job(queue="payments", timeout=10, retry=OUTAGE)
async def take_payment(order: Order) -> None:
    """Charge the customer, and publish that the order is paid.

    The key makes it safe to repeat the request, which the guard does when an answer is lost. The id of the event makes
    it safe to publish it again, when the worker dies before this job is settled: each queue has one copy.
    """
    charge = {"order": order.id, "cents": order.cents}
    headers = {"Idempotency-Key": order.id}
    answer = await payments.call(provider().post, "/charges", json=charge, headers=headers)
    if answer.is_client_error:
        raise GiveUp(f"the provider refused: {answer.text}")
    answer.raise_for_status()
    await orders.publish(f"order.{order.country}.paid", order, id=f"{order.id}-paid")


# Each of the three bound queues gets a copy of the event, as a job of its own with its own retries.
paid = orders.binding("order.*.paid")


@shop.job(queue="invoices", on=paid, timeout=30, retry=OUTAGE, isolate="process")
def render_invoice(order: Order) -> None:
    """Draw the PDF in a child process: it needs CPU time and would block the event loop."""
    invoice = draw_invoice(order=order.id, item=order.item, cents=order.cents, email=order.email)
    stored = shop.objects.put_sync(f"invoices/{order.id}.pdf", invoice, content_type="application/pdf")
    catalogue().has_invoice(order.id, stored.sha256)


@shop.job(queue="mail", on=paid, timeout=30, retry=OUTAGE)
def send_receipt(order: Order) -> None:
    """Tell the customer; smtplib blocks, so this is a plain function and runs in a thread."""
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = order.email
    message["Subject"] = f"Your payment for order {order.id}"
    message["Message-ID"] = f"<receipt.{order.id}@example.com>"  # the same in a second copy: mail programs show one
    message["X-Order"] = order.id
    message.set_content(f"Thank you for your order.\n\n{order.item}: {order.cents / 100:.2f} EUR\n")
    with smtplib.SMTP("127.0.0.1", run_files().smtp, timeout=10) as smtp:
        smtp.send_message(message)


@shop.job(queue="analytics", on=paid, timeout=30, retry=OUTAGE)
def count_sale(ctx: Context, order: Order) -> None:
    """Add the sale to the figures, which count each event once, so that a second run changes nothing."""
    event = ctx.headers["outlast-event"]
    try:
        best_sellers.add_sync(order.item, once=event)
    except ToolkitAway as away:
        raise Snooze(away.retry_after or 1) from None  # an outage costs time, and no attempt
    record_sale(run_files().sales, event=event, order=order.id, cents=order.cents)


@app.get("/invoices/{order}")
async def show_invoice(order: str) -> Response:
    """Send an invoice, checked by its digest. On S3 this would redirect to `await shop.objects.url(key)`.

    A shop with accounts asks first whose order it is.
    """
    if (sha256 := await run_in_threadpool(catalogue().invoice, order)) is None:
        raise HTTPException(404, "there is no such invoice yet")
    invoice = await shop.objects.get(f"invoices/{order}.pdf", sha256=sha256)
    return Response(invoice, media_type="application/pdf")


@app.get("/best-sellers")
async def show_best_sellers(n: Annotated[int, Query(ge=1, le=100)] = 3) -> dict[str, int]:
    """Show what was sold most."""
    return {entry.member: entry.score for entry in await best_sellers.top(n)}


# Of the requests with one key one runs, and the others get its answer; the key belongs to who has the cookie. The
# session is within that: what it changes is stored before the answer. plain_http: the demo has no https, a shop has.
app.add_middleware(SessionMiddleware, sessions=shop.sessions(idle="1h"), plain_http=True)
install(app, shop, idempotency=Idempotency(ttl="1h", principal=lambda scope: by_credentials(scope) or ""))
pieces.serve(app, shop)  # for the page of the demo only: which piece of the toolkit works now


@shop.cache.cached(ttl="1m", key="product:{number}")
async def product(number: int) -> Product | None:
    """Read a product through the cache; while the cache is away, from the database."""
    return await run_in_threadpool(catalogue().product, number)


@app.get("/products/{number}")
async def show_product(number: int) -> Product:
    """Show a product with the items that are left."""
    if (found := await product(number)) is None:
        raise HTTPException(404, "there is no such product")
    return found


Basket = Annotated[Session, Depends(current_session)]


@app.put("/basket", status_code=204)
async def fill_basket(choice: Choice, basket: Basket) -> None:
    """Put a product into the basket, which is the session."""
    if await product(choice.product) is None:
        raise HTTPException(404, "there is no such product")
    basket["product"] = choice.product


def take_item(order: str, number: int, lease: LockLease) -> OrderRow:
    """Take an item from the stock for an order, once however often it is called. It blocks: call it in a thread.

    Between the read of the stock and the write this process may stand still for longer than its lease. Then the
    database refuses the write, because the token of the next holder is there.
    """
    if done := catalogue().order(order):
        return done
    lease.confirm(catalogue().enter(number, lease.token))
    found = catalogue().product(number)
    if found is None or found.stock < 1:
        raise HTTPException(410, "it is sold out")
    lease.confirm(catalogue().sell(order, found, lease.token))
    return OrderRow(id=order, product=found.id, item=found.name, cents=found.cents, runs=1)


async def customer(basket: Basket) -> str:
    """Return who asks, for the limiter: a session that the store knows, and not what a client may say."""
    return basket.handle


limited = Depends(rate_limit(shop.limiter(f"{PER_SECOND}/second, 1000/hour", name="orders"), key=customer))


@app.post("/orders", status_code=202, dependencies=[Depends(require_idempotency_key), limited])
async def take_order(wish: Wish, basket: Basket) -> dict[str, str | int]:
    """Answer at once. The slow work runs later, as jobs, which survive failures.

    Each step may be repeated: the item is taken once for an order, and the job has the id of the order.
    """
    if (number := basket.get("product", type=int)) is not None:
        async with shop.lock(f"stock:{number}", wait="5s") as lease:
            row = await run_in_threadpool(take_item, wish.id, number, lease)
    elif (done := await run_in_threadpool(catalogue().order, wish.id)) is not None:
        row = done  # an earlier run emptied the basket, and died before its answer was stored
    else:  # while the store is away each basket looks empty
        raise basket.failure or HTTPException(422, "the basket is empty")
    await product.delete(row.product)
    order = Order(**wish.model_dump(), product=row.product, item=row.item, cents=row.cents)
    job = await take_payment.with_options(id=order.id).enqueue(order)
    basket.pop("product")
    return {"job": job.id, "kept": job.durability, "cents": order.cents}


shop.observe(Journal(lambda: run_files().runs))
