"""A process that enqueues into a file which no worker has open is told so, once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from outlast import Outlast
from outlast.core.message import Holder
from outlast.enqueue import attendance
from outlast.enqueue.attendance import Attendance
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import shared_rabbit
from tests.support.working import new_app


async def looked(app: Outlast) -> bool:
    watch = Attendance(await app.runtime())
    try:
        return await watch.look()
    finally:
        watch.close()


async def test_jobs_in_a_file_that_no_worker_has_open_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attendance, "_AFTER", 0.0)
    monkeypatch.chdir(tmp_path)
    app = new_app("sqlite:jobs.db")

    @app.job(queue="mail")
    async def send() -> None: ...

    async with app:
        with caplog.at_level(logging.WARNING, "outlast"):
            await send.enqueue()
            await until(lambda: caplog.records, "it tells")
    (line,) = (each.getMessage() for each in caplog.records)
    assert "jobs wait in sqlite:jobs.db" in line
    assert f"no worker has it open (queues: mail; working directory: {Path.cwd()})" in line


async def test_a_job_that_has_just_come_or_that_a_worker_will_run_is_no_reason(
    app: Outlast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job(queue="mail")
    async def send() -> None: ...

    app.queue("any")
    async with app:
        runtime = await app.runtime()
        await send.enqueue()
        assert not await looked(app)  # it has waited for less than a minute
        monkeypatch.setattr(attendance, "_AFTER", 0.0)
        await runtime.store.broker.claim({"any": 1}, limit=1, holder=Holder("busy"), lease=60, wait=0)
        assert await looked(app)  # a worker has this store open, though it consumes another queue
    assert caplog.records == []


async def test_where_ages_are_not_told_jobs_wait_that_were_ready_at_the_last_look(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with shared_rabbit().vhost() as vhost:
        app = new_app(shared_rabbit().url_of(vhost))

        @app.job(queue="mail")
        async def send() -> None: ...

        async with app:
            watch = Attendance(await app.runtime())
            assert not await watch.look()
            await send.enqueue()
            assert not await watch.look()
            assert await watch.look()
            watch.close()
    assert "jobs wait in amqp://" in caplog.messages[-1]


async def test_a_queue_of_another_app_is_no_reason(app: Outlast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "_AFTER", 0.0)
    other = new_app(app.settings.url)

    @other.job(queue="others")
    async def work() -> None: ...

    async with app:
        await (await app.runtime()).store.broker.publish([work.message()])
        assert not await looked(app)


async def test_a_store_of_one_process_is_not_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    app = new_app("memory:")
    async with app:
        watch = Attendance(await app.runtime())
        assert watch._timer is None
        watch.close()
