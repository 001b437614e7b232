"""Large arguments of jobs that the store cannot take now: nothing piles up in the object store, no other job waits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from outlast import EnqueueUnknown, Outlast
from outlast.core.errors import StoreUnavailable, StoreUncertain
from outlast.core.message import Message
from outlast.enqueue import spool as spooling
from tests.support.claims import claims_app, claims_in, switched
from tests.support.polling import until
from tests.support.working import working

LARGE = "x" * 5000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


def shout_of(app: Outlast) -> Any:
    @app.job(queue="work")
    async def shout(text: str) -> str:
        return text.upper()

    return shout


class AwayFor:
    """A publish that fails with `error` while `away` is set. calls: how many failed."""

    def __init__(self, publish: Any, error: Exception) -> None:
        self.publish, self.error, self.calls, self.away = publish, error, 0, True

    async def __call__(self, messages: Sequence[Message]) -> Any:
        if self.away:
            self.calls += 1
            raise self.error
        return await self.publish(messages)


async def result(app: Outlast, handle: Any) -> Any:
    """Return the result of a job that is perhaps still in the spool."""
    records = (await app.runtime()).store.records

    async def arrived() -> bool:
        return (await records.get([handle.id]))[0] is not None

    await until(arrived, "the job is relayed")
    return await handle.result(60)


async def test_a_publish_that_stores_nothing_leaves_no_object(tmp_path: Path, folder: Path) -> None:
    """An app that tries again and again would fill the bucket with them."""
    app = claims_app(f"sqlite:{tmp_path}/jobs.db", folder)
    shout = shout_of(app)
    async with app:
        broker = (await app.runtime()).store.broker
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(broker, "publish", AwayFor(broker.publish, StoreUnavailable("away")))
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await shout.enqueue(LARGE)
            assert claims_in(folder) == []
            patch.setattr(broker, "publish", AwayFor(broker.publish, StoreUncertain("cut off")))
            with pytest.raises(EnqueueUnknown):
                await shout.enqueue(LARGE)
            assert len(claims_in(folder)) == 1, "the job may be stored"


async def test_the_relay_puts_arguments_once(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "PAUSES", (0.01,))
    app = claims_app(f"sqlite:{tmp_path}/jobs.db", folder, spool=str(tmp_path / "spool.db"))
    shout = shout_of(app)
    async with app:
        broker = (await app.runtime()).store.broker
        away = AwayFor(broker.publish, StoreUnavailable("away"))
        monkeypatch.setattr(broker, "publish", away)
        handles = [await shout.enqueue(LARGE) for _ in range(2)]
        await until(lambda: away.calls > 12, "the relay has tried some times")
        assert len(claims_in(folder)) == 2
        away.away = False
        async with working(app):
            for handle in handles:
                assert await result(app, handle) == LARGE.upper()
        assert len(claims_in(folder)) == 4, "two arguments, two results"


async def test_small_jobs_do_not_wait_for_the_object_store(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = claims_app(f"sqlite:{tmp_path}/jobs.db", folder, spool=str(tmp_path / "spool.db"))
    shout = shout_of(app)
    place = switched(app)
    async with app:
        place.away = True
        large = await shout.enqueue(LARGE)
        assert large.durability in ("process-crash", "os-crash")
        async with working(app):
            small = await shout.enqueue("a")
            assert await small.result(60) == "A"
            await until(lambda: place.calls > 1, "the relay has tried")
            assert await (await shout.enqueue("b")).result(60) == "B"
            place.away = False
            assert await result(app, large) == LARGE.upper()


async def test_what_was_spooled_in_an_outage_of_both_is_relayed_as_far_as_it_can(tmp_path: Path, folder: Path) -> None:
    app = claims_app(f"sqlite:{tmp_path}/jobs.db", folder, spool=str(tmp_path / "spool.db"))
    shout = shout_of(app)
    place = switched(app)
    place.away = True
    async with app:
        broker = (await app.runtime()).store.broker
        with pytest.MonkeyPatch.context() as patch:
            away = AwayFor(broker.publish, StoreUnavailable("away"))
            patch.setattr(broker, "publish", away)
            first = await shout.enqueue("a")  # from here on all jobs go to the spool
            large = await shout.enqueue(LARGE)
            small = await shout.enqueue("b")
            away.away = False
            async with working(app):
                assert [await result(app, each) for each in (first, small)] == ["A", "B"]
                place.away = False
                assert await result(app, large) == LARGE.upper()
