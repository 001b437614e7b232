"""Every run ends: whatever user code raises, wherever a worker meets it, the job is settled and its slot is free."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast import Constant, GiveUp, Outlast, Retry, Snooze
from outlast.core.store.control import Cancel
from outlast.worker import Worker
from tests.support.apps import hostile_app
from tests.support.apps.hostile_app import ENDS, ERRORS, PLACES, build, jobs
from tests.support.working import new_app, record, working

TARGET = "tests.support.apps.hostile_app:app"
SLOTS = 3


@pytest.fixture
def _at_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Validators raise from now on only in a worker."""
    monkeypatch.setenv("OUTLAST_TEST_HOSTILE", "1")
    hostile_app.at_run.clear()
    yield
    hostile_app.at_run.clear()


@pytest.mark.usefixtures("_at_run")
@pytest.mark.parametrize("place", PLACES)
async def test_whatever_is_raised_ends_the_run_and_frees_its_slot(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # of __del__, and of what pydantic drops
    app = build(f"sqlite:{tmp_path}/jobs.db")
    met: list[None] = []
    all_slots = asyncio.Barrier(SLOTS)

    @app.job(timeout=60)
    async def needs_a_slot() -> None:
        await all_slots.wait()

    @app.job(timeout=60)
    def in_a_thread() -> None:
        met.append(None)

    argument = (lambda word: {"word": word}) if "itself" in place else (lambda word: word)
    async with app:
        handles = {word: await jobs[place].enqueue(argument(word)) for word in ERRORS}
        hostile_app.at_run.append(None)  # type: ignore[arg-type]
        async with working(app, target=TARGET, concurrency=SLOTS, threads=2, processes=1):
            found = {word: await record(app, handle) for word, handle in handles.items()}
            for after in [await needs_a_slot.enqueue() for _ in range(SLOTS)] + [await in_a_thread.enqueue()]:
                assert (await record(app, after)).state == "succeeded"
    gc.collect()
    for word, each in found.items():
        assert each.state == "dead", (word, each)
        assert each.failures, word
        assert each.failures[-1].type, word
        assert len(each.failures[-1].type) <= 200, word


@pytest.mark.parametrize("word", ["GeneratorExit", "SystemExit", "text CancelledError", "class KeyboardInterrupt"])
@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_a_run_that_is_stopped_may_end_in_any_way(how: str, word: str, url: str) -> None:
    app = new_app(url, lease=0.6)
    started = asyncio.Event()

    @app.job(timeout=0.2 if how == "timeout" else 60, retry=Retry(attempts=1))
    async def stubborn() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ERRORS[word]() from None

    async with app, working(app, concurrency=1):
        job = await stubborn.enqueue()
        await started.wait()
        if how == "cancel":
            await (await app.runtime()).store.control.apply([Cancel(job.id)])
        found = await record(app, job)
        assert (found.state, found.reason) == (("cancelled",) * 2 if how == "cancel" else ("dead", "timeout"))


@pytest.mark.parametrize("end", ENDS)
async def test_observers_and_handlers_of_the_log_end_no_run(
    end: type[BaseException], app: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are called between the runs: what they raise must not end the task that settles."""

    class Observer:
        def __call__(self, event: object) -> None:
            raise end

        def __repr__(self) -> str:
            raise end

    class LogHandler(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise end

    app.observe(Observer())
    log = LogHandler()
    for name in ("outlast", "outlast.worker"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [log])

    @app.job(retry=Retry(attempts=2, backoff=hostile_app.Refuses()))
    async def fails() -> None:
        raise ValueError("x")

    @app.job
    async def works() -> None: ...

    handles = [await job.enqueue() for job in (fails, works, fails, works)]
    async with working(app, concurrency=1):
        found = [(await record(app, handle)).state for handle in handles]
        assert (await record(app, await works.enqueue())).state == "succeeded"
    assert found == ["dead", "succeeded"] * 2


async def test_a_coroutine_that_other_code_closes_has_failed(app: Outlast) -> None:
    started = asyncio.Event()

    @app.job(retry=Retry(attempts=1))
    async def waits() -> None:
        started.set()
        await asyncio.Event().wait()

    @app.job
    async def closes(name: str) -> None:
        (task,) = [each for each in asyncio.all_tasks() if each.get_name() == name]
        coroutine: Any = task.get_coro()
        coroutine.close()
        task.cancel()

    async with working(app, concurrency=2):
        job = await waits.enqueue()
        await started.wait()
        assert (await record(app, await closes.enqueue(job.id))).state == "succeeded"
        found = await record(app, job)
        assert (found.state, found.failures[-1].type) == ("dead", "GeneratorExit")
        for after in [await waits.with_options(id=str(n)).enqueue() for n in range(2)]:
            await (await app.runtime()).store.control.apply([Cancel(after.id)])


def test_a_run_of_an_event_loop_that_has_ended_is_not_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its coroutine gets a GeneratorExit from the interpreter, maybe while another loop runs."""
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    ended: list[BaseException] = []
    loop = asyncio.new_event_loop()

    async def abandon() -> None:
        app = new_app("memory:")
        started = asyncio.Event()

        @app.job
        async def waits() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            except BaseException as error:
                ended.append(error)
                raise

        worker = Worker(await app.runtime())
        background.append(asyncio.get_running_loop().create_task(worker.run(asyncio.Event())))
        await waits.enqueue()
        await started.wait()

    background: list[asyncio.Task[None]] = []
    loop.set_exception_handler(lambda *_: None)  # of tasks that are destroyed while they are pending
    loop.run_until_complete(abandon())
    loop.close()

    async def collect() -> None:
        background.clear()
        gc.collect()

    asyncio.run(collect())
    del loop
    gc.collect()
    assert [type(each) for each in ended] == [GeneratorExit]
    assert not [each for each in ignored if "_run_on_loop" in repr(each)]


async def test_failure_rules_look_into_the_groups_of_task_groups(app: Outlast) -> None:
    runs: list[str] = []
    thrice = Retry(attempts=3, backoff=Constant(0), give_up_on=(LookupError,))

    async def part(error: BaseException | None) -> None:
        if error is not None:
            raise error

    async def in_groups(*errors: BaseException | None) -> None:
        async with asyncio.TaskGroup() as outer:
            for error in errors:
                async with asyncio.TaskGroup() as inner:
                    inner.create_task(part(error))
            outer.create_task(part(None))

    @app.job(retry=thrice)
    async def gives_up() -> None:
        runs.append("gives_up")
        await in_groups(None, GiveUp("no such customer"))

    @app.job(retry=thrice)
    async def is_given_up() -> None:
        runs.append("is_given_up")
        await in_groups(KeyError("x"))

    @app.job(retry=Retry(attempts=1))
    async def polls() -> None:
        runs.append("polls")
        await in_groups(Snooze(0) if runs.count("polls") < 4 else None)

    @app.job(retry=thrice)
    def in_a_thread() -> None:
        runs.append("in_a_thread")
        raise ExceptionGroup("two", [ValueError("x"), Snooze(0)])

    async with working(app):
        found = [await record(app, await job.enqueue()) for job in (gives_up, is_given_up, polls, in_a_thread)]
    assert [(each.state, each.reason, runs.count(each.kind)) for each in found] == [
        ("dead", "gave-up", 1),
        ("dead", "gave-up", 1),
        ("succeeded", None, 4),
        ("dead", "attempts", 3),
    ]
    assert [len(each.failures) for each in found] == [1, 1, 0, 3]
