"""Which piece of the toolkit is on which side now: each is used once, and tells what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from outlast import LockTimeout, Outlast, ToolkitAway
from outlast.fastapi import require_idempotency_key

__all__ = ["Piece", "serve"]


class Piece(BaseModel):
    """A piece of the toolkit. side: what it does now, in words. whole: whether it does all that it does."""

    name: str
    whole: bool
    side: str = "whole"


def serve(app: FastAPI, shop: Outlast) -> None:
    """Add `GET /pieces`, and `POST /pieces`, which shows the side of the idempotency keys by its answer."""
    limiter = shop.limiter("100/second", name="pieces")

    async def cache() -> Piece:
        kept = await shop.cache.set("pieces", 1, ttl="10s")
        return Piece(name="cache", whole=kept, side="whole" if kept else "open: the database is read")

    async def limit() -> Piece:
        alone = (await limiter.take("pieces")).approximate
        return Piece(name="limiter", whole=not alone, side="alone: a share for each process" if alone else "whole")

    async def lock() -> None:
        async with shop.lock("pieces", wait=0):
            return

    async def best() -> None:
        await shop.board("best-sellers").top(1)

    async def objects() -> None:
        await shop.objects.exists("invoices/none.pdf")

    async def refusing(name: str, use: Callable[[], Awaitable[object]], closed: str) -> Piece:
        try:
            await use()
        except (ToolkitAway, LockTimeout):
            return Piece(name=name, whole=False, side=f"closed: {closed}")
        return Piece(name=name, whole=True)

    @app.get("/pieces")
    async def pieces() -> list[Piece]:
        return list(
            await asyncio.gather(
                cache(),
                limit(),
                refusing("lock", lock, "no stock taken"),
                refusing("best sellers", best, "none shown"),
                refusing("invoices", objects, "none kept"),
            )
        )

    @app.post("/pieces", status_code=204)
    async def once(_: Annotated[str, Depends(require_idempotency_key)]) -> None:
        return
