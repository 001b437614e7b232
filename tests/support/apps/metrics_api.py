"""A FastAPI app that shows its metrics; served by uvicorn, in one process or several, or by `outlast dev`."""

from __future__ import annotations

from fastapi import FastAPI

from outlast import Outlast
from outlast.fastapi import install

__all__ = ["app", "shop"]

shop = Outlast("shop")


@shop.job(queue="mail")
async def send(number: int) -> None: ...


app = FastAPI()
install(app, shop, metrics=True)


@app.post("/orders/{number}", status_code=202)
async def order(number: int) -> str:
    return (await send.enqueue(number)).id
