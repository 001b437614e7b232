"""The order shop, written as a FastAPI developer would write it."""

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
from outlast.demo.run_files import run_files
from outlast.fastapi import install

__all__ = ["Order", "app", "render_invoice", "send_invoice", "shop", "take_payment"]

# The longest wait between two runs is the longest delay of a payment when the provider is up again. A job is retried
# for 15 minutes with any number of attempts, so an outage costs time and no order.
OUTAGE = Retry(attempts=10_000, backoff=Exponential(base=0.25, cap=2.0), within=15 * 60)


class Order(BaseModel):
    """The order of a customer. id: chosen by the customer, so that a repeated request is the same order."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    item: Annotated[str, Field(max_length=80)]
    cents: Annotated[int, Field(gt=0, lt=10_000_000)]
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=120)]


app = FastAPI(title="Order shop")
shop = Outlast("shop", settings=Settings(processes=1))  # OUTLAST_URL names the store


@cache
def provider() -> httpx2.AsyncClient:
    """Return the HTTP client of this process, which keeps connections open between payments."""
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{run_files().provider}", timeout=2.0)


@shop.job(queue="payments", timeout=10, retry=OUTAGE)
async def take_payment(ctx: Context, order: Order) -> None:
    """Charge the customer. The key makes it safe to repeat the request when the answer was lost."""
    charge = {"order": order.id, "cents": order.cents}
    answer = await provider().post("/charges", json=charge, headers={"Idempotency-Key": order.id})
    if answer.is_client_error:
        raise GiveUp(f"the provider refused: {answer.text}")
    answer.raise_for_status()
    ctx.enqueue(render_invoice, order)  # stored in the same step that ends this job, so a crash loses neither


@shop.job(queue="invoices", timeout=30, retry=OUTAGE, isolate="process")
def render_invoice(ctx: Context, order: Order) -> None:
    """Draw the PDF in a child process: it needs CPU time and would block the event loop."""
    path = run_files().invoices / f"{order.id}.pdf"
    draw_invoice(path, order=order.id, item=order.item, cents=order.cents, email=order.email)
    ctx.enqueue(send_invoice, order)


@shop.job(queue="mail", timeout=30, retry=OUTAGE)
def send_invoice(order: Order) -> None:
    """Send the invoice; smtplib blocks, so this is a plain function and runs in a thread."""
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = order.email
    message["Subject"] = f"Your invoice for order {order.id}"
    message["Message-ID"] = f"<invoice.{order.id}@example.com>"  # the same in a second copy: mail programs show one
    message["X-Order"] = order.id
    message.set_content(f"Thank you for your order.\n\n{order.item}: {order.cents / 100:.2f} EUR\n")
    pdf = (run_files().invoices / f"{order.id}.pdf").read_bytes()
    message.add_attachment(pdf, maintype="application", subtype="pdf", filename=f"invoice-{order.id}.pdf")
    with smtplib.SMTP("127.0.0.1", run_files().smtp, timeout=10) as smtp:
        smtp.send_message(message)


install(app, shop)


@app.post("/orders", status_code=202)
async def take_order(order: Order) -> dict[str, str]:
    """Answer at once. The slow work runs later, as jobs, which survive failures."""
    job = await take_payment.with_options(id=order.id).enqueue(order)
    return {"job": job.id, "kept": job.durability}


shop.observe(Journal(lambda: run_files().runs))
