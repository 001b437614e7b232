"""What the load shedder costs each request: `python -m benchmarks.shedder` prints nanoseconds of an ASGI call.

The app below each middleware does nothing. The cases take turns in short rounds, and the fastest round of each counts:
what else runs on the machine only adds time. A peer runs in its own environment, beside the same bare call.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

__all__: list[str] = []

ROUNDS = 300
CALLS = 500
PEERS = {"fastapi-balancer": "fastapi-balancer==0.2.1", "tigzig-concurrency": "tigzig-concurrency==0.2.0"}
"""The ASGI limiters of PyPI that run here: name and package. fastapi-concurrency-limiter needs Python 3.12."""

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


async def answers(scope: Message, receive: Any, send: Any) -> None:
    """An app that answers at once."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def passes(app: App) -> App:
    """Return the least middleware."""

    async def middleware(scope: Message, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return middleware


def ours() -> dict[str, App]:
    """Return the cases of our own."""
    from outlast.fastapi import LoadShedder, Shed

    async def waits(scope: Message, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    full = LoadShedder(waits, Shed(max_in_flight=1))
    full_call = full({"type": "http", "path": "/"}, received, sent)
    full_call.send(None)  # it has the one place until the end of the run
    HELD.append(full_call)
    return {
        "LoadShedder(max_in_flight)": LoadShedder(answers, Shed(max_in_flight=100)),
        "LoadShedder(max_in_flight, max_lag)": LoadShedder(answers, Shed(max_in_flight=100, max_lag="200ms")),
        "LoadShedder, a refusal": full,
    }


def balancer() -> dict[str, App]:
    """Return the middleware of fastapi-balancer over one watched path without a backend."""
    from fastapi_balancer.limiter import Limiter  # type: ignore[import-not-found]
    from fastapi_balancer.middleware import BalancerMiddleware  # type: ignore[import-not-found]
    from fastapi_balancer.storage.memory import MemoryStorage  # type: ignore[import-not-found]

    class AnyBackend:
        async def select(self, backends: list[str], path: str) -> None:
            return None

    storage = MemoryStorage()
    storage._capacity["/orders"] = 100
    settings = {"watched_endpoints": ["/orders"], "backends": [], "router": AnyBackend(), "queue_timeout": 1.0}
    return {"BalancerMiddleware": BalancerMiddleware(answers, limiter=Limiter(storage), storage=storage, **settings)}


def queue() -> dict[str, App]:
    """Return the acquire and release of tigzig-concurrency, which has no middleware, around the app."""
    from tigzig_concurrency import BoundedQueue  # type: ignore[import-not-found]

    places = BoundedQueue(100, 100, 100, 100, 1.0)

    async def middleware(scope: Message, receive: Any, send: Any) -> None:
        await places.acquire("127.0.0.1")
        try:
            await answers(scope, receive, send)
        finally:
            places.release("127.0.0.1")

    return {"BoundedQueue.acquire and release": middleware}


CASES = {"outlast": ours, "fastapi-balancer": balancer, "tigzig-concurrency": queue}
HELD: list[Any] = []


async def received() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def sent(message: Message) -> None:
    pass


async def measure(system: str) -> dict[str, float]:
    """Return the nanoseconds of a call in the fastest round of each case."""
    cases = {"no middleware": answers, "middleware that does nothing": passes(answers), **CASES[system]()}
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(ROUNDS):
        for name, call in cases.items():
            calls = CALLS if best[name] < 50_000 else CALLS // 10
            began = time.perf_counter_ns()
            for _ in range(calls):
                scope = {"type": "http", "method": "GET", "path": "/orders", "headers": [], "query_string": b""}
                await call(scope, received, sent)
            best[name] = min(best[name], (time.perf_counter_ns() - began) / calls)
        await asyncio.sleep(0)
    return best


def main() -> None:
    """Print the figures of all systems."""
    from benchmarks.environments import make
    from benchmarks.processes import BenchError

    for system in CASES:
        try:
            python = (
                str(make(f"shedder-{system}", [PEERS[system]]) / "bin" / "python")
                if system in PEERS
                else sys.executable
            )
        except BenchError as error:
            print(f"{system}: not measured: {error}")
            continue
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [python, "-m", "benchmarks.shedder", system]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        print(PEERS.get(system, system))
        figures: dict[str, float] = json.loads(done.stdout)
        for name, figure in figures.items():
            print(f"  {figure:9,.0f} ns  {figure - figures['no middleware']:+9,.0f}  {name}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(asyncio.run(measure(sys.argv[1]))))
    else:
        main()
