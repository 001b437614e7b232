"""An app whose jobs run in child processes, which import it from here."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from outlast import Constant, Context, Exponential, GiveUp, Outlast, Retry, Snooze, remaining
from outlast.settings import Settings
from tests.support.ledger import Ledger

__all__ = ["app", "build"]

AGAIN = Retry(attempts=2, backoff=Constant(0), retry_on=(LookupError,))


def ledger() -> Ledger:
    return Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))


def pid(ctx: Context) -> int:
    ctx.progress("running")
    return os.getpid()


def seconds_left(ctx: Context) -> list[float | None]:
    return [ctx.deadline, remaining()]


async def seconds_left_async() -> list[float | None]:
    return [remaining()]


async def sleeps_async(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()


def fails(ctx: Context, kind: str) -> str:
    if ctx.attempt > 1:
        return "second"
    raise {"lookup": LookupError("retried"), "value": ValueError("not retried"), "give-up": GiveUp("never")}[kind]


def snoozes(ctx: Context) -> str:
    if ctx.attempt == 1 and not ledger().read():
        ledger().write("snoozed", ctx.id)
        raise Snooze(0)
    return "awake"


def exits_politely() -> None:
    raise SystemExit(7)


def hangs_with_a_child(ctx: Context) -> None:
    child = subprocess.Popen(["sleep", "300"])
    ledger().write("child", child.pid)
    ctx.progress("hanging")
    while True:
        time.sleep(60)


opened: list[str] = []
"""The stores that this process has opened."""


async def enqueues(timeout: float) -> tuple[int, int]:
    """Enqueue a job within a timeout; return this process, and how many stores it has opened."""
    async with asyncio.timeout(timeout):
        await build_jobs["pid"].enqueue()
    return os.getpid(), len(opened)


def dies(ctx: Context, how: str) -> None:
    ledger().write("dies", ctx.id)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(9)


def counted(ctx: Context) -> int:
    ledger().write("counted", ctx.id)
    return len(ledger().read("counted"))


def dies_after_effect(ctx: Context) -> list[Any]:
    found = [ctx.once_sync("count", counted, ctx)]
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return [*found, ctx.once_sync("again", counted, ctx)]


async def fails_after_effect(ctx: Context) -> list[Any]:
    found = await asyncio.gather(*(ctx.once(f"count {number}", counted, ctx) for number in range(3)))
    if ctx.attempt == 1:
        raise LookupError
    return list(found)


async def effect_is_too_large(ctx: Context) -> None:
    await ctx.once("large", lambda: [counted(ctx), "x" * 3_000_000])


async def dies_when_told(how: str) -> None:
    ledger().write("waits", how)
    while not ledger().read("told"):
        await asyncio.sleep(0.01)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)


def terminated() -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    return "lives"


def parent(ctx: Context) -> str:
    return ctx.enqueue(build_jobs["pid"]).id


def large() -> str:
    return "x" * 300_000


def hungry(mebibytes: int) -> int:
    return len(b"x" * (mebibytes << 20))


async def anywhere() -> int:
    return os.getpid()


def starter() -> int:
    """Return the process that started the parent of this one: the fork server, or the worker."""
    return int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])


async def family() -> list[int]:
    return [os.getpid(), starter()]


async def kills_its_parent(ctx: Context) -> None:
    ledger().write("kills", ctx.id)
    os.kill(os.getppid(), signal.SIGKILL)
    await asyncio.sleep(60)


async def naps(ctx: Context, seconds: float) -> int:
    ledger().write("naps", starter())
    await asyncio.sleep(seconds)
    return ctx.crashes


build_jobs: dict[str, Any] = {}


def build(url: str = "") -> Outlast:
    """Return a fresh app with these jobs."""
    made = Outlast("isolated", settings=Settings(url=url, processes=2, drain_grace=10, lease=0.9))
    connect = made._connect

    def counted(settings: Settings, clock: Any) -> Any:
        opened.append(settings.url)
        return connect(settings, clock)

    made._connect = counted  # type: ignore[method-assign]
    quick = Retry(attempts=2, backoff=Constant(0))
    for function, retry, timeout in (
        (pid, quick, 60.0),
        (sleeps_async, quick, 60.0),
        (enqueues, quick, 60.0),
        (seconds_left, quick, 60.0),
        (seconds_left_async, quick, 60.0),
        (fails, AGAIN, 60.0),
        (snoozes, quick, 60.0),
        (exits_politely, quick, 60.0),
        (hangs_with_a_child, Retry(attempts=1), 4.0),
        (dies, quick, 60.0),
        (terminated, quick, 60.0),
        (parent, Retry(backoff=Exponential()), 60.0),
        (large, quick, 60.0),
        (hungry, quick, 60.0),
        (dies_after_effect, quick, 60.0),
        (fails_after_effect, AGAIN, 60.0),
        (effect_is_too_large, quick, 60.0),
    ):
        build_jobs[function.__name__] = made.job(isolate="process", retry=retry, timeout=timeout)(function)
    for handler in (anywhere, dies_when_told, family, kills_its_parent, naps):
        build_jobs[handler.__name__] = made.job(handler)
    return made


if os.environ.get("OUTLAST_TEST_THREAD"):
    threading.Thread(target=threading.Event().wait, daemon=True).start()

app = build()
