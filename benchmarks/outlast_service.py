"""The FastAPI service of Outlast's row over HTTP, built as the README says."""

from fastapi import FastAPI

from benchmarks.outlast_jobs import send, shop
from benchmarks.serve import Order
from outlast.fastapi import install

__all__ = ["application"]


def application() -> FastAPI:
    """Return the service."""
    app = FastAPI()
    install(app, shop)

    @app.post("/jobs", status_code=202)
    async def enqueue(order: Order) -> dict[str, str]:
        job = await send.enqueue(order.user_id, order.email)
        return {"job": job.id, "kept": job.durability}

    return app
