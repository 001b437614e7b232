"""The order shop: what a FastAPI developer writes. Nothing in this file knows that it is part of a demo."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from functools import cache
from typing import Annotated

import httpx2
from fastapi import FastAPI
from pydantic import BaseModel, Field

from outlast import Context, Exponential, GiveUp, Outlast, Retry, Settings
from outlast.demo.invoice import draw_invoice
from outlast.demo.journal import Journal
from outlast.demo.run_files import here
from outlast.fastapi import install

__all__ = ["Order", "app", "render_invoice", "send_invoice", "shop", "take_payment"]

# The longest wait between two tries is how late a payment can be once the provider is back. A job may be tried as often
# as it likes for 15 minutes, so an outage costs time and no order.
OUTAGE = Retry(attempts=10_000, backoff=Exponential(base=0.25, cap=2.0), budget=15 * 60)


class Order(BaseModel):
    """What a customer sends. `id` is the customer's own, so that a repeated order is the same order."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    item: Annotated[str, Field(max_length=80)]
    cents: Annotated[int, Field(gt=0, lt=10_000_000)]
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=120)]


app = FastAPI(title="Order shop")
shop = Outlast("shop", settings=Settings(processes=1))  # kept where OUTLAST_URL says


@cache
def provider() -> httpx2.AsyncClient:
    """Return the one client of this process: it keeps its connections open between payments."""
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{here().provider}", timeout=2.0)


@shop.job(queue="payments", timeout=10, retry=OUTAGE)
async def take_payment(ctx: Context, order: Order) -> None:
    """Charge the customer. The key makes it safe to ask again when the answer was lost."""
    wish = {"order": order.id, "cents": order.cents}
    answer = await provider().post("/charges", json=wish, headers={"Idempotency-Key": order.id})
    if answer.is_client_error:
        raise GiveUp(f"the provider refused: {answer.text}")
    answer.raise_for_status()
    ctx.enqueue(render_invoice, order)  # kept in the same step that ends this job: there is no gap to fall into


@shop.job(queue="invoices", timeout=30, retry=OUTAGE, isolate="process")
def render_invoice(ctx: Context, order: Order) -> None:
    """Draw the PDF, in a process of its own: it needs the processor, and would block everything else."""
    path = here().invoices / f"{order.id}.pdf"
    draw_invoice(path, order=order.id, item=order.item, cents=order.cents, email=order.email)
    ctx.enqueue(send_invoice, order)


@shop.job(queue="mail", timeout=30, retry=OUTAGE)
def send_invoice(order: Order) -> None:
    """Send the invoice; smtplib blocks, so this is a plain function and runs in a thread."""
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = order.email
    message["Subject"] = f"Your invoice for order {order.id}"
    message["Message-ID"] = f"<invoice.{order.id}@example.com>"  # the same in a second copy: readers fold them
    message["X-Order"] = order.id
    message.set_content(f"Thank you for your order.\n\n{order.item}: {order.cents / 100:.2f} EUR\n")
    pdf = (here().invoices / f"{order.id}.pdf").read_bytes()
    message.add_attachment(pdf, maintype="application", subtype="pdf", filename=f"invoice-{order.id}.pdf")
    with smtplib.SMTP("127.0.0.1", here().smtp, timeout=10) as smtp:
        smtp.send_message(message)


install(app, shop)


@app.post("/orders", status_code=202)
async def take_order(order: Order) -> dict[str, str]:
    """Answer at once. Everything slow happens later, and survives what fails."""
    job = await take_payment.with_options(id=order.id).enqueue(order)
    return {"job": job.id, "kept": job.durability}


shop.observe(Journal(lambda: here().runs))
