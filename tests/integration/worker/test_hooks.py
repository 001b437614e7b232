"""Middleware and dependencies in real workers: timeouts, cancels and stops pass through them."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from outlast import CallNext, Context, Depends, Outlast, Retry, injected
from outlast.core.store.control import Cancel
from outlast.supervisor.supervisor import Supervisor
from outlast.worker import consumer_watch
from tests.support.apps.hooked_app import build, jobs
from tests.support.ledger import Ledger
from tests.support.polling import until
from tests.support.working import new_app, record, working

ONCE = Retry(attempts=1)
request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
log: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    log.clear()


async def session() -> AsyncIterator[str]:
    try:
        yield "session"
    except BaseException as error:
        log.append(type(error).__name__)
        raise
    finally:
        await asyncio.sleep(0)
        log.append("closed")


def connection() -> Iterator[str]:
    log.append(f"opened in {threading.current_thread().name}")
    yield request.get()
    log.append("closed")


def surround(app: Outlast) -> None:
    @app.middleware
    async def around(ctx: Context, call_next: CallNext) -> Any:
        request.set(ctx.headers.get("request-id", "none"))
        try:
            return await call_next()
        except BaseException as error:
            log.append(f"around {type(error).__name__}")
            raise
        finally:
            log.append("around")


async def test_what_middleware_sets_reaches_handlers_on_the_loop_and_in_threads(app: Outlast) -> None:
    surround(app)

    @app.job
    async def on_loop() -> str:
        return request.get()

    @app.job
    def in_thread(*, conn: Annotated[str, Depends(connection)] = injected) -> list[str]:
        return [conn, request.get(), threading.current_thread().name]

    async with working(app):
        first = await on_loop.with_options(headers={"request-id": "r-1"}).enqueue()
        second = await in_thread.with_options(headers={"request-id": "r-2"}).enqueue()
        assert await first.result(timeout=30) == "r-1"
        conn, seen, thread = await second.result(timeout=30)
    assert (conn, seen) == ("r-2", "r-2")
    assert thread.startswith("outlast-job")
    assert f"opened in {thread}" in log


async def test_a_timeout_ends_what_the_run_had_before_it_is_settled(app: Outlast) -> None:
    surround(app)

    @app.job(timeout=0.2, retry=ONCE)
    async def hangs(*, db: Annotated[str, Depends(session)] = injected) -> None:
        await asyncio.Event().wait()

    async with working(app):
        found = await record(app, await hangs.enqueue())
        assert log == ["CancelledError", "closed", "around CancelledError", "around"]
    assert (found.state, found.reason) == ("dead", "timeout")


async def test_a_thread_past_its_timeout_keeps_its_slot_and_its_middleware_ends(app: Outlast) -> None:
    surround(app)
    release = threading.Event()

    @app.job(timeout=0.2, retry=ONCE)
    def hangs(*, conn: Annotated[str, Depends(connection)] = injected) -> None:
        release.wait(60)

    @app.job
    def next_one() -> str:
        return "ran"

    try:
        async with working(app, threads=1):
            found = await record(app, await hangs.enqueue())
            assert (found.state, found.reason) == ("dead", "timeout")
            assert log[1:] == ["around CancelledError", "around"]
            waiting = await next_one.enqueue()
            store = (await app.runtime()).store
            assert [each and each.state for each in await store.records.wait([waiting.id], 0.3)] == ["ready"]
            release.set()
            assert await waiting.result(timeout=30) == "ran"
            assert log[3] == "closed"  # when the function had returned
            again = [await (await next_one.enqueue()).result(timeout=30) for _ in range(3)]
            assert again == ["ran"] * 3  # the slot is whole again
    finally:
        release.set()


@pytest.mark.parametrize("obeys", [True, False])
async def test_a_thread_decides_about_a_cancel_itself(url: str, obeys: bool) -> None:
    app = new_app(url, lease=0.6)
    surround(app)
    started = threading.Event()

    @app.job(retry=ONCE)
    def waits(ctx: Context) -> str:
        started.set()
        while not ctx.cancelled:
            threading.Event().wait(0.005)
        if obeys:
            raise InterruptedError
        return "done all the same"

    async with app, working(app):
        job = await waits.enqueue()
        await asyncio.to_thread(started.wait, 30)
        await (await app.runtime()).store.control.apply([Cancel(job.id)])
        assert (await record(app, job)).state == ("cancelled" if obeys else "succeeded")
    assert log == (["around InterruptedError", "around"] if obeys else ["around"])


async def test_a_thread_that_minds_no_cancel_is_let_go_at_its_timeout(url: str) -> None:
    app = new_app(url, lease=0.6)
    surround(app)
    started, release = threading.Event(), threading.Event()

    @app.job(retry=ONCE, timeout=1.5)
    def waits() -> None:
        started.set()
        release.wait(60)

    try:
        async with app, working(app):
            job = await waits.enqueue()
            await asyncio.to_thread(started.wait, 30)
            await (await app.runtime()).store.control.apply([Cancel(job.id)])
            assert (await record(app, job)).state == "cancelled"
            assert log == ["around CancelledError", "around"]
            release.set()
    finally:
        release.set()


async def test_middleware_may_wait_less_long_than_the_function_runs(app: Outlast) -> None:
    release, returned = threading.Event(), threading.Event()

    @app.middleware
    async def impatient(ctx: Context, call_next: CallNext) -> Any:
        try:
            async with asyncio.timeout(0.05):
                return await call_next()
        except TimeoutError:
            if ctx.arguments["wait"]:
                release.set()
                await until(returned.is_set, "the function has returned while the middleware goes on")
            return "too slow"

    @app.job(retry=ONCE)
    def slow(wait: bool) -> str:
        release.wait(60)
        release.clear()
        returned.set()
        return "never told"

    async with working(app, threads=1):
        assert await (await slow.enqueue(True)).result(timeout=30) == "too slow"
        assert await (await slow.enqueue(False)).result(timeout=30) == "too slow"
        waiting = await slow.enqueue(True)
        release.set()
        assert await waiting.result(timeout=30) == "too slow"


async def test_a_call_that_middleware_leaves_behind_gives_its_slot_back(app: Outlast) -> None:
    started, release = threading.Event(), threading.Event()
    left: list[asyncio.Task[Any]] = []

    @app.middleware
    async def leaves(ctx: Context, call_next: CallNext) -> Any:
        left.append(asyncio.ensure_future(call_next()))
        if ctx.arguments["wait"]:
            await asyncio.to_thread(started.wait, 30)
        return "left"

    @app.job(retry=ONCE)
    def slow(wait: bool) -> str:
        started.set()
        release.wait(60)
        return "told to nobody"

    try:
        async with working(app, threads=1):
            assert await (await slow.enqueue(True)).result(timeout=30) == "left"
            waiting = await slow.enqueue(False)
            release.set()
            assert await left[0] == "told to nobody"
            assert await waiting.result(timeout=30) == "left"
            with pytest.raises(RuntimeError, match="after the middleware had returned"):
                await left[1]
            assert await (await slow.enqueue(False)).result(timeout=30) == "left"
            await asyncio.gather(*left, return_exceptions=True)
    finally:
        release.set()


@pytest.mark.parametrize("inside", [True, False])
async def test_a_stop_gives_the_job_back_and_ends_its_middleware(tmp_path: Path, inside: bool) -> None:
    app = new_app(f"sqlite:{tmp_path}/jobs.db", drain_grace=0.1)
    release, started = threading.Event(), threading.Event()

    @app.middleware
    async def around(ctx: Context, call_next: CallNext) -> Any:
        try:
            if not inside:
                started.set()
                await asyncio.Event().wait()
            return await call_next()
        finally:
            log.append("around")

    @app.job
    def stays() -> None:
        started.set()
        release.wait(60)

    try:
        async with app:
            async with working(app):
                job = await stays.enqueue()
                await until(started.is_set, "it runs")
            found = await job.record()
            assert (found.state, found.attempt, log) == ("ready", 1, ["around"])
    finally:
        release.set()


async def test_an_isolated_job_has_both_in_its_child(ledger: Ledger, tmp_path: Path) -> None:
    app = build(f"sqlite:{tmp_path}/jobs.db")
    async with app, working(app, target="tests.support.apps.hooked_app:app", processes=1):
        number, db, pid, name, main = await (await jobs["plain"].enqueue(7)).result(timeout=60)
        assert (number, name, main) == (7, "plain", False)
        assert db == pid != os.getpid()
        assert await (await jobs["on_loop"].enqueue()).result(timeout=60) == [pid, pid, "on_loop"]
    assert {int(each.name) for each in ledger.read("in")} == {pid}
    words = [each.word for each in ledger.read() if each.word != "in"]
    assert words == ["opened", "closed", "opened", "rolled-back", "closed", "opened", "closed"]


async def test_the_supervisor_has_a_worker_tell_of_a_queue_that_nobody_consumes(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:{tmp_path}/jobs.db"
    monkeypatch.setenv("OUTLAST_TEST_URL", url)
    monkeypatch.setattr(consumer_watch, "_EVERY", 0.1)
    app = build(url)
    async with app:
        await jobs["idle"].enqueue()
        stop = asyncio.Event()
        supervisor = Supervisor("tests.support.apps.hooked_app:app", queues=["default"])
        running = asyncio.create_task(supervisor.run(stop))
        await until(lambda: ledger.read("unattended"), "a worker's observers hear of it")
        stop.set()
        assert await running == 0
    assert {each.name for each in ledger.read("unattended")} == {"idle"}
    assert os.getpid() not in {each.pid for each in ledger.read("unattended")}
