"""The sweep removes the objects of jobs that are no more, and of jobs that never were; of a live job, never."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import structs

from outlast import Outlast
from outlast.admin.moving import MovePlan, Mover
from outlast.core.errors import StoreUnavailable
from outlast.core.store.control import Purge
from outlast.core.store.store import Store
from outlast.core.toolkit_errors import ToolkitAway
from outlast.worker import claim_sweep
from outlast.worker.claim_sweep import ClaimSweep
from outlast.worker.store_link import StoreLink
from tests.support.claims import age, claims_app, claims_in, switched
from tests.support.working import record, working

DAY = 86400.0
LARGE = "x" * 5000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def app(tmp_path: Path, folder: Path) -> Outlast:
    return claims_app(f"sqlite:{tmp_path}/jobs.db", folder)


def shout_of(app: Outlast) -> Any:
    @app.job(queue="work")
    async def shout(text: str) -> str:
        return text.upper()

    return shout


async def sweep_of(
    app: Outlast, *, again: float = 0.0, store: Store | None = None, queues: frozenset[str] = frozenset({"work"})
) -> ClaimSweep:
    runtime = await app.runtime()
    link = StoreLink(store or runtime.store, runtime.clock, Random(1), reconnect=None, patience=30)
    return ClaimSweep(runtime.claims, link, frozenset(app.registry.queues) | queues, Random(1), again=again)


async def test_objects_stay_as_long_as_the_record_of_their_job(app: Outlast, folder: Path) -> None:
    shout = shout_of(app)
    async with app:
        sweep = await sweep_of(app)
        handle = await shout.enqueue(LARGE)
        age(folder, 3 * DAY)
        assert await sweep.sweep() == 0, "it waits"
        async with working(app):
            await record(app, handle)
        age(folder, 3 * DAY)
        assert await sweep.sweep() == 0, "it has ended, and its record is kept"
        assert await handle.result() == LARGE.upper()
        await (await app.runtime()).store.control.apply([Purge(handle.id)])
        assert await sweep.sweep() == 2
        assert claims_in(folder) == []


async def test_young_objects_stay_whoever_has_put_them(app: Outlast, folder: Path) -> None:
    shout = shout_of(app)
    async with app:
        sweep = await sweep_of(app)
        await app.composer.claims.check_in([shout.message(LARGE)])
        age(folder, DAY - 60)
        assert await sweep.sweep() == 0
        age(folder, DAY + 60)
        assert await sweep.sweep() == 1


async def test_objects_of_other_queues_and_other_files_stay(app: Outlast, folder: Path) -> None:
    shout = shout_of(app)
    async with app:
        sweep = await sweep_of(app)
        other = structs.replace(shout.message(LARGE), id="other.1", queue="other")
        await app.composer.claims.check_in([other])
        await app.objects.put("invoices/1", b"x")
        strange = folder / ".outlast" / "claims" / "work" / "strange"
        strange.parent.mkdir()
        strange.write_text("x")
        age(folder, 3 * DAY)
        assert await sweep.sweep() == 0
        assert len(claims_in(folder)) == 2
        assert await app.objects.exists("invoices/1")


async def test_one_process_sweeps_in_an_hour_and_none_where_there_is_nothing(app: Outlast, folder: Path) -> None:
    shout = shout_of(app)
    async with app:
        sweep, other = await sweep_of(app), await sweep_of(app)
        assert await sweep.step() == 0
        assert not folder.exists(), "an app without large arguments gets no folder"
        await app.composer.claims.check_in([shout.message(LARGE)])
        age(folder, 3 * DAY)
        assert await sweep.step() == 1
        await app.composer.claims.check_in([shout.message(LARGE)])
        age(folder, 3 * DAY)
        assert await other.step() == 0, "the other has just swept"


async def test_apps_with_other_queues_sweep_on_their_own(app: Outlast, folder: Path) -> None:
    """Else an app with many workers would take each turn."""
    shout = shout_of(app)
    async with app:
        sweep, other = await sweep_of(app), await sweep_of(app, queues=frozenset({"work", "mail"}))
        await app.composer.claims.check_in([structs.replace(shout.message(LARGE), id="mail.1", queue="mail")])
        age(folder, 3 * DAY)
        assert await sweep.step() == 0
        assert await other.step() == 1


@pytest.mark.parametrize("url", ["redis://host", ""])
async def test_two_stores_of_jobs_with_one_place_lose_nothing(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    """Two namespaces, two files: neither knows the jobs of the other, which may have a queue of the same name."""
    here = claims_app(f"sqlite:{tmp_path}/here.db", folder)
    there = claims_app(f"sqlite:{tmp_path}/there.db", folder)
    shout, other = shout_of(here), shout_of(there)
    async with here, there:
        known = (await there.runtime()).store
        store = Store(known.broker, records=known.records, url=url) if url else known
        sweeps = [await sweep_of(here), await sweep_of(there, store=store)]
        await here.composer.claims.check_in([shout.message(LARGE)])
        handle = await other.enqueue(LARGE)
        assert [await sweep.step() for sweep in sweeps] == [0, 0], "all is young, and each store is told"
        age(folder, 3 * DAY)
        assert [await sweep.sweep() for sweep in sweeps] == [0, 0]
        assert "have the same objects_url" in caplog.text
        assert str(tmp_path / "here.db") in caplog.text
        async with working(there):
            assert await handle.result(60) == LARGE.upper()


async def test_files_of_one_path_on_two_hosts_are_two_stores(tmp_path: Path, app: Outlast, folder: Path) -> None:
    async with app:
        runtime = await app.runtime()
        link = StoreLink(runtime.store, runtime.clock, Random(1), reconnect=None, patience=30)
        sweep = claim_sweep.sweep_of(runtime, link)
        assert sweep is not None
        file = tmp_path / "jobs.db"
        assert sweep._name() == f"{file.resolve()} (inode {file.stat().st_ino})"


async def test_a_store_that_is_given_up_holds_the_sweep_back_for_a_month(app: Outlast, folder: Path) -> None:
    shout = shout_of(app)
    async with app:
        runtime = await app.runtime()
        await app.composer.claims.check_in([shout.message(LARGE)])
        age(folder, 3 * DAY)
        former = Store(runtime.store.broker, records=runtime.store.records, url="redis://former")
        await (await sweep_of(app, store=former))._is_due(runtime.claims.link)
        sweep = await sweep_of(app)
        assert await sweep.sweep() == 0
        (mark,) = (folder / claim_sweep.STORES).iterdir()
        for days, deleted in ((29, 0), (31, 1)):
            at = time.time() - days * DAY
            os.utime(mark, (at, at))
            assert await sweep.sweep() == deleted


async def test_nothing_is_deleted_while_either_store_is_away(app: Outlast, folder: Path) -> None:
    shout = shout_of(app)
    place = switched(app)
    async with app:
        runtime = await app.runtime()
        await app.composer.claims.check_in([shout.message(LARGE)])
        age(folder, 3 * DAY)
        place.away = True
        with pytest.raises(ToolkitAway):
            await (await sweep_of(app)).sweep()
        place.away = False
        runtime.claims.link._guard.renew()

        async def fails(ids: Any) -> Any:
            raise StoreUnavailable("away")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runtime.store.records, "get", fails)
            with pytest.raises(StoreUnavailable):
                await (await sweep_of(app)).sweep()
        assert len(claims_in(folder)) == 1
        assert await (await sweep_of(app)).sweep() == 1


async def test_a_broker_without_records_goes_by_age(app: Outlast, folder: Path) -> None:
    shout = shout_of(app)
    async with app:
        broker = Store((await app.runtime()).store.broker, url="amqp://host")
        sweep = await sweep_of(app, store=broker)
        await shout.enqueue(LARGE)
        age(folder, 29 * DAY)
        assert await sweep.sweep() == 0
        age(folder, 31 * DAY)
        assert await sweep.sweep() == 1


async def test_the_worker_sweeps(app: Outlast, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_sweep, "LOOK", 0.05)
    monkeypatch.setattr(claim_sweep, "AGAIN", 0.0)
    shout = shout_of(app)
    gone = asyncio.Event()
    sweep = ClaimSweep.step

    async def step(self: ClaimSweep) -> int:
        self._again = 0.0
        deleted = await sweep(self)
        if deleted:
            gone.set()
        return deleted

    monkeypatch.setattr(ClaimSweep, "step", step)
    async with app:
        await app.composer.claims.check_in([shout.message(LARGE)])
        age(folder, 3 * DAY)
        async with working(app), asyncio.timeout(60):
            await gone.wait()
    assert claims_in(folder) == []


async def test_a_moved_job_takes_its_arguments_along(tmp_path: Path, folder: Path) -> None:
    here = claims_app(f"sqlite:{tmp_path}/here.db", folder)
    there = claims_app(f"sqlite:{tmp_path}/there.db", tmp_path / "other")
    shout, _ = shout_of(here), shout_of(there)
    async with here, there:
        handle = await shout.enqueue(LARGE)
        source, target = (await here.runtime()).store, (await there.runtime()).store
        plan = MovePlan("here", "there")
        refusing = Mover(plan, source, target)
        await refusing.run(asyncio.Event(), wait=False)
        assert (refusing.progress.moved, refusing.progress.refused) == (0, {"no-object": 1})
        mover = Mover(plan, source, target, here.composer.claims)
        await mover.run(asyncio.Event(), wait=False)
        assert mover.progress.moved == 1
        async with working(there):
            assert await there.handle(handle.id).result(60) == LARGE.upper()
