"""The jobs of the proof. Each writes its start, its effect and its end into the ledger; some fail or die on purpose."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from typing import Final, cast

from outlast import Constant, Context, Exponential, GiveUp, Outlast, Retention, Retry, Settings
from outlast.aio.clock import SystemClock
from outlast.clients.sqlite.file_url import sqlite_path
from outlast.core.clock import Clock
from outlast.core.events import Event, JobLost
from outlast.core.store.store import Store
from outlast.worker.run import Run
from tests.faults.survival.ledger import Dying, Effect, Finished, Followed, Ledger, Lost, Opened, Started
from tests.faults.survival.names import APP, LEDGER, ROLE
from tests.faults.survival.witness import WitnessedStore

__all__ = [
    "apart",
    "blocking",
    "doomed",
    "kid",
    "parent",
    "poison",
    "quitter",
    "shaky",
    "shop",
    "sole",
    "steady",
    "telling",
]

shop = Outlast(APP)
for _queue in ("loop", "threads", "apart", "family", "risky"):
    shop.queue(_queue, retention=Retention(records=1_000_000))  # the checker looks at every record, at the end

_ledger: Final = Ledger(os.environ[LEDGER])
_runs: Final = itertools.count(1)

if os.environ.get(ROLE) == "worker":

    def _witnessed(settings: Settings, clock: Clock) -> Store:
        _ledger.write(Opened(supervisor=os.getppid()))
        path = sqlite_path(settings.url)
        return Store.of(WitnessedStore(path, clock=clock, max_body=settings.max_body, ledger=_ledger), settings.url)

    # What `outlast.testing` does to keep jobs in memory: the same app on a store of our choice.
    shop._wiring = shop._wire(Settings.load(APP), SystemClock(), _witnessed)


@shop.observe
def _lost(event: Event) -> None:
    if isinstance(event, JobLost):
        _ledger.write(Lost(id=event.id))


class _Sheet:
    """One run's lines."""

    def __init__(self, ctx: Context) -> None:
        self.id = ctx.id
        self.run = f"{os.getpid()}-{next(_runs)}"
        token = cast(Run, ctx._run).delivery.fence.token
        worker = os.getpid() if token else os.getsid(0)  # a worker leads the session of all that it starts
        _ledger.write(
            Started(id=ctx.id, run=self.run, attempt=ctx.attempt, crashes=ctx.crashes, token=token, worker=worker)
        )

    def effect(self) -> None:
        _ledger.write(Effect(id=self.id, run=self.run))

    def finish(self, how: str = "ok") -> str:
        _ledger.write(Finished(id=self.id, run=self.run, how=how))
        return self.run


def _spin(ms: float) -> None:
    """Use the processor."""
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        sum(range(200))


async def _work(ctx: Context, ms: float, spin: float) -> _Sheet:
    sheet = _Sheet(ctx)
    _spin(spin)
    await asyncio.sleep(ms / 2000)
    sheet.effect()
    await asyncio.sleep(ms / 2000)
    return sheet


@shop.job(queue="loop")
async def steady(ctx: Context, ms: float, spin: float) -> None:
    """Return nothing: settled with all others of its batch, in one step."""
    (await _work(ctx, ms, spin)).finish()


@shop.job(queue="loop")
async def telling(ctx: Context, ms: float, spin: float) -> str:
    """Return the name of the run: the record shows which one counted."""
    return (await _work(ctx, ms, spin)).finish()


@shop.job(queue="loop", unique="sole:{slot}")
async def sole(ctx: Context, slot: int, ms: float, spin: float) -> str:
    """At most one unfinished job of each slot."""
    return (await _work(ctx, ms, spin)).finish()


@shop.job(queue="loop", retry=Retry(attempts=4, backoff=Exponential(base=0.1, cap=1.0)))
async def shaky(ctx: Context, fails: int, ms: float, spin: float) -> str:
    """Fail in the first `fails` attempts."""
    sheet = await _work(ctx, ms, spin)
    if ctx.attempt <= fails:
        sheet.finish("failed")
        raise ConnectionError("on purpose")
    return sheet.finish()


@shop.job(queue="threads")
def blocking(ctx: Context, ms: float, spin: float) -> str:
    """Work in a thread."""
    sheet = _Sheet(ctx)
    _spin(spin)
    time.sleep(ms / 2000)
    sheet.effect()
    time.sleep(ms / 2000)
    return sheet.finish()


@shop.job(queue="apart", isolate="process")
def apart(ctx: Context, ms: float, spin: float) -> str:
    """Work in a process of its own."""
    sheet = _Sheet(ctx)
    _spin(spin)
    sheet.effect()
    time.sleep(ms / 1000)
    return sheet.finish()


@shop.job(queue="family", retry=Retry(attempts=3, backoff=Constant(0.2)))
async def parent(ctx: Context, kids: int, fails: int, ms: float, spin: float) -> str:
    """Enqueue `kids` follow-ups; those of a run that fails or dies must never be seen."""
    sheet = _Sheet(ctx)
    for _ in range(kids):
        child = ctx.enqueue(kid, ms / 4, spin)
        _ledger.write(Followed(id=ctx.id, run=sheet.run, child=child.id))
    sheet.effect()
    await asyncio.sleep(ms / 1000)
    if ctx.attempt <= fails:
        sheet.finish("failed")
        raise ConnectionError("on purpose, with follow-ups in hand")
    return sheet.finish()


@shop.job(queue="family")
async def kid(ctx: Context, ms: float, spin: float) -> str:
    """A follow-up."""
    return (await _work(ctx, ms, spin)).finish()


@shop.job(queue="risky", retry=Retry(attempts=2, backoff=Constant(0.1)))
async def doomed(ctx: Context, ms: float) -> None:
    """Fail in every attempt."""
    (await _work(ctx, ms, 0.1)).finish("failed")
    raise ConnectionError("on purpose, always")


@shop.job(queue="risky")
async def quitter(ctx: Context, ms: float) -> None:
    """Give up."""
    (await _work(ctx, ms, 0.1)).finish("gave-up")
    raise GiveUp("on purpose")


@shop.job(queue="risky")
async def poison(ctx: Context, how: str) -> None:
    """Kill the process that runs it, whatever process that is."""
    sheet = _Sheet(ctx)
    await asyncio.sleep(0.05)  # so that neighbours are in mid run
    _ledger.write(Dying(id=ctx.id, run=sheet.run))
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)
