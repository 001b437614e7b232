"""A document that is saved while it is indexed: the text of the last save is the last one that is indexed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outlast import Constant, Context, JobCancelled, Outlast, Retry, Snooze, UniqueConflict
from tests.support.polling import until
from tests.support.servers.redis_server import shared_server
from tests.support.working import record, working


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh store."""
    if request.param == "redis":
        return f"{shared_server().users_url}?namespace={tmp_path.name.replace('_', '-')}"
    return "memory:" if request.param == "memory" else f"sqlite:{tmp_path}/jobs.db"


class Desk:
    """A job that holds its first run until it is told to go on."""

    def __init__(self, app: Outlast, *, fails: BaseException | None = None) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.indexed: list[str] = []

        @app.job(
            unique="index:{document}",
            on_conflict="replace",
            queue="search",
            retry=Retry(attempts=5, backoff=Constant(0)),
        )
        async def index(document: int, text: str) -> None:
            if not self.begun.is_set():
                self.begun.set()
                await self.go.wait()
                if fails is not None:
                    raise fails
            self.indexed.append(text)

        self.index = index


async def test_a_save_during_the_run_is_indexed_after_it(app: Outlast) -> None:
    desk = Desk(app)
    async with working(app):
        first = await desk.index.enqueue(7, "first")
        await desk.begun.wait()
        second = await desk.index.enqueue(7, "second")
        third = await desk.index.enqueue(7, "third")
        assert (second.created, third.created, third.replaced) == (True, True, second.id)
        assert [await job.status() for job in (first, second, third)] == ["running", "cancelled", "waiting"]
        with pytest.raises(UniqueConflict, match=third.id):
            await desk.index.with_options(on_conflict="raise").enqueue(7, "fourth")
        again = await desk.index.with_options(on_conflict="existing").enqueue(7, "fourth")
        assert (again.created, again.id) == (False, third.id)
        desk.go.set()
        assert (await record(app, third)).state == "succeeded"
        assert (await record(app, first)).state == "succeeded"
    assert desk.indexed == ["first", "third"]


@pytest.mark.parametrize("fails", [ConnectionError("away"), Snooze(0)], ids=["retry", "snooze"])
async def test_the_newer_text_supersedes_a_retry(app: Outlast, fails: BaseException) -> None:
    desk = Desk(app, fails=fails)
    async with working(app):
        first = await desk.index.enqueue(7, "first")
        await desk.begun.wait()
        second = await desk.index.enqueue(7, "second")
        desk.go.set()
        assert (await record(app, second)).state == "succeeded"
        with pytest.raises(JobCancelled, match="replaced"):
            await first.result(30)
    assert desk.indexed == ["second"]


async def test_an_enqueue_after_a_cancel_is_done(app: Outlast) -> None:
    desk = Desk(app)
    plain = desk.index.with_options(on_conflict="existing")
    async with working(app):
        first = await plain.enqueue(7, "first")
        await desk.begun.wait()
        assert (await plain.enqueue(7, "meanwhile")).id == first.id
        assert await first.cancel()
        second = await plain.enqueue(7, "second")
        assert second.created
        assert (await record(app, second)).state == "succeeded"
        assert (await record(app, first)).state == "cancelled"
    assert desk.indexed == ["second"]


async def test_a_follow_up_of_another_job_is_an_update_too(app: Outlast) -> None:
    desk = Desk(app)

    @app.job(queue="search")
    async def save(ctx: Context, document: int, text: str) -> None:
        ctx.enqueue(desk.index, document, text)

    async with working(app):
        await desk.index.enqueue(7, "first")
        await desk.begun.wait()
        await record(app, await save.enqueue(7, "second"))
        desk.go.set()
        await until(lambda: len(desk.indexed) == 2, "both texts are indexed")
    assert desk.indexed == ["first", "second"]
