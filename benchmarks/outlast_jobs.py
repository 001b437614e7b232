"""Outlast at its defaults: one job on one queue, its producer, and the FastAPI service of the rows over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import counter
from outlast import Outlast

__all__ = ["application", "client", "send", "shop"]

shop = Outlast("bench")


@shop.job(queue="bench")
async def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)


class OutlastClient:
    """Enqueues as a user would."""

    async def open(self) -> None:
        """Connect."""
        await shop.__aenter__()

    async def close(self) -> None:
        """Close."""
        await shop.__aexit__(None, None, None)

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return await send.enqueue(user_id, email)

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue a batch in one step."""
        return await shop.enqueue_many(send.message(user_id, email) for user_id, email in batch)


def client() -> OutlastClient:
    """Return what enqueues."""
    return OutlastClient()


def application() -> Any:
    """Return the service, built as the README says."""
    from fastapi import FastAPI

    from benchmarks.serve import Order
    from outlast.fastapi import install

    app = FastAPI()
    install(app, shop)

    @app.post("/jobs", status_code=202)
    async def enqueue(order: Order) -> dict[str, str]:
        job = await send.enqueue(order.user_id, order.email)
        return {"job": job.id, "kept": job.durability}

    return app
