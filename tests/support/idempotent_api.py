"""An app that looks at Idempotency-Keys, for the tests of what it does with them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import JSONResponse, Response, StreamingResponse

from outlast import Outlast, Settings
from outlast.fastapi import Idempotency, install, require_idempotency_key
from tests.support.asgi import Reply, ask

__all__ = ["KEY", "Api", "code_of", "post"]

KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'


class Api:
    """An app whose handlers count their runs, and wait for `go` where the path says so."""

    def __init__(self, **options: Any) -> None:
        self.shop = Outlast("shop", settings=Settings(url="memory:"))
        self.app = FastAPI()
        self.runs = 0
        self.running, self.go = asyncio.Event(), asyncio.Event()
        install(self.app, self.shop, idempotency=Idempotency(**options))
        self.app.post("/orders")(self.order)
        self.app.post("/paid", dependencies=[Depends(require_idempotency_key)])(self.order)
        self.app.post("/status/{status}")(self.with_status)
        self.app.post("/fails")(self.fails)
        self.app.post("/refuses")(self.refuses)
        self.app.post("/slow")(self.slow)
        self.app.post("/stream/{parts}")(self.stream)
        self.app.post("/events")(self.events)
        self.app.post("/typed")(self.typed)

    def count(self) -> int:
        self.runs += 1
        return self.runs

    async def order(self) -> Response:
        headers = {"Location": "/orders/1", "Set-Cookie": "a=b", "X-Trace": "1", "Cache-Control": "no-store"}
        return JSONResponse({"order": self.count()}, 201, headers)

    async def with_status(self, status: int) -> Response:
        return Response(None if status in (204, 304) else str(self.count()), status)

    async def fails(self) -> None:
        self.count()
        raise RuntimeError("the handler fails")

    async def refuses(self) -> None:
        raise HTTPException(409, f"sold out {self.count()}")

    async def typed(self, order: dict[str, int]) -> int:
        return self.count()

    async def slow(self) -> int:
        self.running.set()
        await self.go.wait()
        return self.count()

    async def stream(self, parts: int) -> Response:
        async def body() -> AsyncIterator[bytes]:
            for number in range(parts):
                yield b"%d," % number
            self.running.set()
            await self.go.wait()
            self.count()

        return StreamingResponse(body(), 201)

    async def events(self) -> Response:
        async def body() -> AsyncIterator[bytes]:
            self.count()
            while True:
                yield b"data: 1\n\n"
                await self.go.wait()

        return StreamingResponse(body(), 200, media_type="text/event-stream")


async def post(api: Api, path: str = "/orders", key: str | None = KEY, body: bytes = b"", **headers: str) -> Reply:
    return await ask(api.app, path, key, body, **headers)


def code_of(reply: Reply) -> str:
    assert reply.headers["content-type"] == "application/problem+json"
    return str(json.loads(reply.body)["code"])
