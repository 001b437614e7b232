"""An app with middleware and dependencies whose jobs run in child processes, which import it from here."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from outlast import CallNext, Constant, Context, Depends, Outlast, QueueUnattended, Retry, injected
from outlast.settings import Settings
from tests.support.ledger import Ledger

__all__ = ["app", "build"]

inside: contextvars.ContextVar[str] = contextvars.ContextVar("inside", default="nothing")
AGAIN = Retry(attempts=2, backoff=Constant(0))


def ledger() -> Ledger:
    return Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))


def opened(ctx: Context) -> Iterator[int]:
    ledger().write("opened", f"{ctx.attempt}")
    try:
        yield os.getpid()
    except LookupError:
        ledger().write("rolled-back", f"{ctx.attempt}")
        raise
    finally:
        ledger().write("closed", f"{ctx.attempt}")


async def pid_of(db: Annotated[int, Depends(opened)]) -> int:
    return db


def plain(number: int, *, db: Annotated[int, Depends(opened)] = injected) -> list[Any]:
    return [number, db, os.getpid(), inside.get(), threading.current_thread() is threading.main_thread()]


async def on_loop(ctx: Context, *, db: Annotated[int, Depends(pid_of)] = injected) -> list[Any]:
    if ctx.attempt == 1:
        raise LookupError("again")
    return [db, os.getpid(), inside.get()]


async def pid_of_nobody() -> None: ...


jobs: dict[str, Any] = {}


def build(url: str = "") -> Outlast:
    """Return a fresh app with these jobs."""
    made = Outlast("hooked", settings=Settings(url=url, processes=2, drain_grace=10, lease=0.9))

    @made.middleware
    async def around(ctx: Context, call_next: CallNext) -> Any:
        token = inside.set(ctx.kind)
        ledger().write("in", os.getpid())
        try:
            return await call_next()
        finally:
            inside.reset(token)

    @made.observe(QueueUnattended)
    def alarm(event: QueueUnattended) -> None:
        ledger().write("unattended", event.queue)

    for handler in (plain, on_loop):
        jobs[handler.__name__] = made.job(isolate="process", retry=AGAIN, timeout=60.0)(handler)
    jobs["idle"] = made.job(queue="idle")(pid_of_nobody)
    return made


app = build(os.environ.get("OUTLAST_TEST_URL", ""))
