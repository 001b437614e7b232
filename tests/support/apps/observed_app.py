"""A shop whose API takes orders for jobs that succeed, that fail once, and that die; both show their metrics."""

from __future__ import annotations

import asyncio
import os

from fastapi import FastAPI

from outlast import Constant, Context, Outlast, Retry, Settings
from outlast.fastapi import install

__all__ = ["KINDS", "api", "shop"]

shop = Outlast("observed", settings=Settings(url=os.environ.get("OBSERVED_URL", "memory:"), enqueue_timeout=60))
shop.queue("mail", objective=30)
shop.queue("pdf", objective=30)


@shop.job(queue="mail")
async def send(seconds: float) -> None:
    await asyncio.sleep(seconds)


@shop.job(queue="mail", retry=Retry(attempts=1))
async def dies(seconds: float) -> None:
    raise ValueError("each time")


@shop.job(queue="pdf", retry=Retry(attempts=3, backoff=Constant(0)))
async def render(ctx: Context, seconds: float) -> None:
    if ctx.attempt == 1:
        raise ValueError("the first time")


KINDS = {"send": send, "dies": dies, "render": render}

api = FastAPI()
install(api, shop, metrics=True)


@api.post("/orders/{kind}/{number}", status_code=202)
async def order(kind: str, number: int) -> dict[str, int]:
    handles = await shop.enqueue_many(KINDS[kind].message(0.002) for _ in range(number))
    return {"accepted": len(handles)}
