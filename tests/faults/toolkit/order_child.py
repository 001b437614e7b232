"""A process that serves orders with Idempotency-Keys: `python -m tests.faults.toolkit.order_child URL LEDGER CLOCK`.

CLOCK: "real", or "fake" for one that stands still. It obeys one order a line, and answers in one line: `hang KEY`
begins a request whose handler never ends, and answers once it runs; `order KEY NUMBER` sends as many requests at once,
and answers with the number of each status. Each run of the handler is a line of the ledger: its key.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outlast.aio.clock import SystemClock
from outlast.clients.redis.address import Address
from outlast.core.clock import Clock
from outlast.fastapi import IdempotencyMiddleware
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.store import ToolkitStore
from outlast.toolkit.stores import connect_toolkit
from tests.support.asgi import Reply, ask

__all__ = ["OrderApp", "orders_in", "toolkit_of"]


def toolkit_of(url: str, clock: Clock, *, timeout: float = 30.0) -> Toolkit:
    """Return the toolkit of a URL, with the time of a fake clock on a server too."""

    def connect(url: str, clock: Clock) -> ToolkitStore:
        if isinstance(clock, FakeClock) and url.startswith("redis"):
            return ToolkitServer(Address.of(url), now=clock.time)
        return connect_toolkit(url, clock)

    return Toolkit(url, clock=clock, timeout=timeout, connect=connect)


class OrderApp:
    """The app. running: set when a handler that never ends has begun."""

    def __init__(self, kit: Toolkit, ledger: Path) -> None:
        self._kit = kit
        self._ledger = ledger
        self.running = asyncio.Event()
        routes = [Route("/orders", self._order, methods=["POST"])]
        self._app = IdempotencyMiddleware(Starlette(routes=routes), shop=self)  # type: ignore[arg-type]

    def _piece(self) -> Callable[[], Toolkit]:
        return self._toolkit

    def _toolkit(self) -> Toolkit:
        return self._kit

    async def _order(self, request: Request) -> Response:
        key = request.headers["idempotency-key"].strip('"')
        line = f"{key} {os.getpid()}\n".encode()
        ledger = os.open(self._ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(ledger, line)
        finally:
            os.close(ledger)
        if "x-hangs" in request.headers:
            self.running.set()
            await asyncio.Event().wait()
        return JSONResponse({"by": os.getpid()}, 201)

    async def order(self, key: str, **headers: str) -> Reply:
        """Send one request."""
        return await ask(self._app, "/orders", f'"{key}"', b"order", **headers)


def orders_in(ledger: Path) -> Counter[str]:
    """Return how often the handler ran for each key."""
    return Counter(line.split()[0] for line in ledger.read_text().splitlines()) if ledger.exists() else Counter()


async def main(url: str, ledger: Path, clock: Clock) -> None:
    """Obey the orders of the parent process."""
    kit = toolkit_of(url, clock)
    app = OrderApp(kit, ledger)
    await kit.check()
    print("ready", flush=True)
    tasks: list[asyncio.Task[Reply]] = []
    while words := (await asyncio.to_thread(sys.stdin.readline)).split():
        if words[0] == "hang":
            app.running.clear()
            tasks.append(asyncio.create_task(app.order(words[1], X_Hangs="1")))
            await app.running.wait()
            print("runs", flush=True)
        else:
            replies = await asyncio.gather(*(app.order(words[1]) for _ in range(int(words[2]))))
            bodies = {each.body.decode() for each in replies if each.status == 201}
            counts = Counter(str(each.status) for each in replies)
            print(json.dumps({"counts": counts, "bodies": sorted(bodies)}), flush=True)
    for task in tasks:
        task.cancel()
    await kit.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), SystemClock() if sys.argv[3] == "real" else FakeClock()))
