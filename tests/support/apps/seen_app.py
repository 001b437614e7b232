"""A shop that uses each part that has metrics: bounded queues, a guard, a schedule, tenants, and the toolkit."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import Depends, FastAPI

from outlast import Breaker, Constant, Context, Outlast, Retry, Session, Settings
from outlast.fastapi import Idempotency, SessionMiddleware, current_session, install

__all__ = ["api", "shop"]

shop = Outlast("seen", settings=Settings(url=os.environ.get("SEEN_URL", "memory:"), measure=True))
payments = shop.guard("payments", timeout=5, retry=Retry(attempts=2), breaker=Breaker(), bulkhead=2)
shop.queue("mail", objective=30, max_depth=10_000)
shop.queue("pdf", objective=30, max_depth=10_000)
limiter = shop.limiter("1000/second", name="seen")
board = shop.board("best-sellers")


@shop.job(queue="mail", key="tenant")
async def send(tenant: str) -> None:
    sum(range(100_000))  # some CPU seconds to measure
    await payments.call(pays)
    await shop.cache.get_or_set("greeting", greeting, ttl="1m")
    await limiter.take(tenant)
    async with shop.lock(f"tenant:{tenant}"):
        await board.add(tenant, 1)
    await shop.objects.put(f"mails/{tenant}", b"sent")


async def pays() -> None: ...


async def greeting() -> str:
    return "hello"


@shop.job(queue="mail", retry=Retry(attempts=1))
async def dies() -> None:
    raise ValueError("each time")


@shop.job(queue="pdf", retry=Retry(attempts=2, backoff=Constant(0)))
async def render(ctx: Context) -> str:
    if ctx.attempt == 1:
        raise ValueError("the first time")
    return "rendered"


@shop.schedule(every="1s")
@shop.job(queue="pdf")
async def tidy() -> None: ...


api = FastAPI()
api.add_middleware(SessionMiddleware, sessions=shop.sessions(), plain_http=True)
install(api, shop, metrics=True, idempotency=Idempotency(ttl="1h"))


@api.post("/orders/{tenant}", status_code=202)
async def order(tenant: str, session: Annotated[Session, Depends(current_session)]) -> list[str]:
    session["tenant"] = tenant
    return [(await each).id for each in (send.enqueue(tenant), dies.enqueue(), render.enqueue())]
