"""An app whose jobs make spans of their own; child processes import it from here."""

from __future__ import annotations

import os
import signal
import time
from typing import Annotated, Any

from opentelemetry import trace
from opentelemetry.trace import get_current_span

from outlast import Constant, Context, GiveUp, JobRouter, Outlast, Redacted, Retry, Snooze
from outlast.declare.context import CallNext
from outlast.settings import Settings

__all__ = ["TARGET", "app", "build", "exchange", "jobs"]

TARGET = "tests.support.apps.traced_app:app"

jobs: dict[str, Any] = {}
exchange: dict[str, Any] = {}


def here() -> str:
    """Return the ids of the current span, as the collector shows them."""
    context = get_current_span().get_span_context()
    return f"{context.trace_id:032x} {context.span_id:016x}"


def works(ctx: Context, number: int) -> int:
    with trace.get_tracer("handler").start_as_current_span("inner", attributes={"number": number, "list": [1, 2]}):
        ctx.enqueue(jobs["noted"], number)
    return os.getpid()


def dies() -> None:
    with trace.get_tracer("handler").start_as_current_span("before"):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def slow() -> None:
    time.sleep(60)


async def noted(number: int) -> None: ...


async def on_loop() -> str:
    return here()


def in_thread() -> str:
    return here()


def around_thread() -> str:
    return here()


async def through(ctx: Context, call_next: CallNext) -> Any:
    return await call_next()


async def fails(how: str, card: Annotated[str, Redacted]) -> None:
    if how == "snooze":
        raise Snooze(3600)
    raise (GiveUp if how == "give-up" else ValueError)(f"no payment with {card}")


async def logs(ctx: Context) -> None:
    ctx.logger.info("a line of the handler")


def logs_in_child(ctx: Context) -> None:
    ctx.logger.warning("a line of the handler")


async def chain(ctx: Context, left: int) -> None:
    if left:
        ctx.enqueue(jobs["chain"], left - 1)


async def chain_at_once(left: int) -> None:
    if left:
        await jobs["chain_at_once"].enqueue(left - 1)


async def chain_with_headers(ctx: Context, left: int) -> None:
    if left:
        ctx.enqueue(jobs["chain_with_headers"].with_options(headers=dict(ctx.headers)), left - 1)


async def chain_at_once_with_headers(ctx: Context, left: int) -> None:
    if left:
        await jobs["chain_at_once_with_headers"].with_options(headers=dict(ctx.headers)).enqueue(left - 1)


async def spreads(ctx: Context, number: int) -> None:
    for each in range(number):
        ctx.enqueue(jobs["noted"], each)


async def told(event: dict[str, int]) -> None: ...


async def told_too(event: dict[str, int]) -> None: ...


def build(url: str = "") -> Outlast:
    """Return a fresh app with these jobs."""
    made = Outlast("traced", settings=Settings(url=url, processes=2, drain_grace=20, lease=5))
    quick = Retry(attempts=2, backoff=Constant(0))
    for handler in (works, dies, logs_in_child):
        jobs[handler.__name__] = made.job(isolate="process", retry=quick, timeout=60)(handler)
    jobs["slow"] = made.job(isolate="process", retry=Retry(attempts=1), timeout=1)(slow)
    chains = (chain, chain_at_once, chain_with_headers, chain_at_once_with_headers)
    for plain in (noted, logs, on_loop, in_thread, spreads, *chains):
        jobs[plain.__name__] = made.job(plain)
    router = JobRouter()
    router.middleware(through)
    jobs["around_thread"] = router.job(around_thread)
    made.include(router)
    jobs["fails"] = made.job(retry=quick)(fails)
    orders = exchange["orders"] = made.exchange("orders", type="fanout")
    jobs["told"] = made.job(queue="first", on=orders.binding())(told)
    jobs["told_too"] = made.job(queue="second", on=orders.binding())(told_too)
    return made


app = build()
