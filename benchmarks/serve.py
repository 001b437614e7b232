"""The HTTP service that every peer shares: `python -m benchmarks.serve MODULE PORT`, in that peer's environment.

One uvicorn process. A module with `application()` brings its own service.
"""

import importlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.produce import Client

__all__ = ["Order", "application"]


class Order(BaseModel):
    """The body of a request."""

    user_id: int
    email: str


def application(client: Client) -> FastAPI:
    """Return a service that enqueues by `client` and answers 202."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await client.open()
        yield
        await client.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/jobs", status_code=202)
    async def enqueue(order: Order) -> dict[str, str]:
        await client.among(order.user_id, order.email)
        return {"kept": "accepted"}

    return app


def main(name: str, port: str) -> None:
    """Serve until SIGTERM."""
    module = importlib.import_module(name)
    app = module.application() if hasattr(module, "application") else application(module.client())
    uvicorn.run(app, host="127.0.0.1", port=int(port), access_log=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
