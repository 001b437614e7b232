"""A FastAPI app with a shop in it, as a user would write it; served by uvicorn in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

from outlast import Context, Outlast, Redacted
from outlast.fastapi import install

__all__ = ["app", "shop"]

shop = Outlast("shop")
shop.queue("mail", max_depth=3)


class Order(BaseModel):
    id: int
    email: str


class State(TypedDict):
    began_with: str


@shop.job(queue="mail")
async def send_receipt(ctx: Context, order_id: int, email: str, token: Annotated[str, Redacted] = "") -> str:
    ctx.progress({"sent": 1})
    return f"{order_id} to {email}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    # The store is open already here, and still open behind the yield.
    handle = await send_receipt.with_options(id="at-start").enqueue(0, "start@example.org")
    yield {"began_with": handle.id}
    await handle.status()


app = FastAPI(lifespan=lifespan)


def authorize(authorization: Annotated[str, Header()] = "") -> bool:
    if authorization == "wrong":
        raise HTTPException(401, "who are you?")
    return authorization == "right"


install(app, shop, authorize=authorize)


@app.post("/orders", status_code=202)
async def order(order: Order, request: Request) -> dict[str, str]:
    job = await send_receipt.enqueue(order.id, order.email, token="t0p-s3cret")
    return {"job": job.id, "kept": job.durability, "first": request.state.began_with}


@app.post("/plain-orders", status_code=202)
def plain_order(order: Order) -> dict[str, str]:
    return {"job": send_receipt.enqueue_sync(order.id, order.email).id}
