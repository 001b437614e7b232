"""How a hostile handler is declared: what must become of it, in a queue of its own, and its neighbours."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from outlast import Constant, Context, Job, Outlast, Retry
from tests.support.ledger import Ledger

__all__ = [
    "BLOCKED",
    "LEASE",
    "NEIGHBOURS",
    "ONCE",
    "WAYS",
    "Way",
    "app",
    "fails",
    "ledger",
    "overdue",
    "poison",
    "way",
]

app = Outlast("hostile")
Leave = Callable[..., Any]
NEIGHBOURS = 2
LEASE = 1.5
"""The lease of the workers, seconds."""
BLOCKED = 3 * LEASE
ONCE = Retry(attempts=1)
AGAIN = Retry(attempts=3, backoff=Constant(0))


@dataclass(frozen=True)
class Way:
    """What must become of one hostile job.

    end: its state, or the reason of its death. error: the type of its last failure. runs: how often it must start.
    deaths: how often at most it may take its worker along. alone: it runs without other hostile jobs beside it.
    spoils: it changes what all code of the process sees.
    """

    end: str
    error: str
    runs: int
    deaths: int
    alone: bool
    spoils: bool
    culprit: Job[[], Any]
    beside: Job[[int], None]


WAYS: dict[str, Way] = {}


def ledger() -> Ledger:
    """Return the ledger of the test."""
    return Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))


def way(
    end: str = "succeeded",
    *,
    error: str = "",
    runs: int = 1,
    deaths: int = 0,
    alone: bool = False,
    mode: Literal["async", "thread", "process"] = "async",
    **options: Any,
) -> Callable[[Leave], Leave]:
    """Declare a handler, which may take the context of its run."""

    def declare(leave: Leave) -> Leave:
        name = leave.__name__
        given = len(inspect.signature(leave).parameters)

        async def on_loop(ctx: Context) -> Any:
            while len({each for each in ledger().names("start") if each.startswith(f"beside-{name}-")}) < NEIGHBOURS:
                await asyncio.sleep(0.01)
            ledger().write("start", name)
            value = leave(*(ctx,)[:given])
            return await value if isinstance(value, Awaitable) else value

        def plain(ctx: Context) -> Any:
            ledger().write("start", name)
            return leave(*(ctx,)[:given])

        async def beside(number: int) -> None:
            """Run beside the culprit, with a single attempt, and still run when it does its harm."""
            ledger().write("start", f"beside-{name}-{number}")
            while name not in ledger().names("start"):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)

        handler: Leave
        on_the_loop = mode == "async" or (mode == "process" and inspect.iscoroutinefunction(leave))
        declared = {"queue": name, "kind": name, "retry": AGAIN, **options}
        handler = on_loop if on_the_loop else plain
        if mode == "process":  # the child process imports it by the name of what it replaces
            declared["isolate"] = "process"
            handler.__module__, handler.__qualname__ = leave.__module__, leave.__qualname__
        WAYS[name] = Way(
            end,
            error,
            runs,
            deaths,
            alone or deaths > 0,
            leave.__module__.endswith(".spoils"),
            app.job(**declared)(handler),
            app.job(queue=name, kind=f"beside_{name}", retry=ONCE)(beside),
        )
        return handler if mode == "process" else leave

    return declare


poison = partial(way, "poison", runs=3, deaths=2)
"""It ends its process: twice its worker, then a process in which it is alone."""
overdue = partial(way, "timeout", runs=3, deaths=2, retry=ONCE, timeout=0.5)
"""Only the end of its process ends it: twice that of its worker, then one in which it is alone."""


def fails(error: str, reason: str = "attempts", **options: Any) -> Callable[[Leave], Leave]:
    """Declare a handler that fails with an error of this type."""
    return way(reason, error=error, **{"retry": ONCE, **options})
