"""Runs whose arguments or results are on their way, in workers that a supervisor watches, and when calls go wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from outlast import Outlast, ToolkitAway
from outlast.core.message import Fence
from outlast.core.settlement import Lost
from outlast.worker import carrier
from outlast.worker.carrier import Carrier
from outlast.worker.job_map import ENDED, SharedJobMap
from outlast.worker.run import Run
from tests.support.claims import claims_app, switched
from tests.support.polling import until
from tests.support.working import record, working

LARGE = "x" * 5000


@pytest.fixture
def app(tmp_path: Path) -> Outlast:
    return claims_app(f"sqlite:{tmp_path}/jobs.db", tmp_path / "objects")


async def test_a_run_whose_result_waits_for_the_store_has_no_hard_deadline(app: Outlast) -> None:
    """Else the supervisor would kill the worker, and the work of all its runs would be done again."""

    @app.job(queue="work", timeout=60)
    async def make(size: int) -> str:
        return "r" * size

    fd = SharedJobMap.create(50)
    place, jobs = switched(app), SharedJobMap(fd, 50)
    os.close(fd)
    async with app, working(app, job_map=jobs, concurrency=4):
        place.away = True
        handle = await make.enqueue(3000)
        await until(lambda: place.calls, "it was tried")
        assert [each.state for each in jobs.read()] == [ENDED]
        place.away = False
        assert await handle.result(60) == "r" * 3000
    jobs.close()


@pytest.mark.parametrize("why", ["cancelled", "superseded"])
async def test_a_job_that_is_stopped_before_its_fetch_has_begun_frees_its_slot(
    app: Outlast, monkeypatch: pytest.MonkeyPatch, why: Any
) -> None:
    @app.job(queue="work")
    async def take(text: str) -> int:
        return len(text)

    carry_in = Carrier.carry_in
    stopped: list[Fence] = []

    async with app:
        handles = [await take.enqueue(LARGE) for _ in range(2)]
        async with working(app, concurrency=1) as worker:

            def carry_and_stop(self: Carrier, run: Run, done: Any) -> None:
                carry_in(self, run, done)
                if not stopped:
                    stopped.append(run.delivery.fence)
                    worker.lose([Lost(run.delivery.fence, why)])

            monkeypatch.setattr(Carrier, "carry_in", carry_and_stop)
            await until(lambda: stopped, "one was stopped")
            other = next(each for each in handles if each.id != stopped[0].id)
            assert await other.result(60) == 5000


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
async def test_an_error_that_no_place_tells_of_loses_no_run(
    app: Outlast, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(carrier, "PUT_OFF", 0.05)
    monkeypatch.setattr(carrier, "SPREAD", 0.05)
    runs: list[int] = []

    @app.job(queue="work")
    async def shout(text: str) -> str:
        runs.append(1)
        return text.upper()

    place = switched(app)
    get, put = place.get, place.put
    failed: list[str] = []

    async def failing(call: Any, *args: Any) -> Any:
        if call not in failed:
            failed.append(call)
            raise error
        return await call(*args)

    async with app:
        handle = await shout.enqueue(LARGE)
        monkeypatch.setattr(place, "get", lambda *args: failing(get, *args))
        monkeypatch.setattr(place, "put", lambda *args: failing(put, *args))
        async with working(app, concurrency=1):
            assert await handle.result(60) == LARGE.upper()
        kept = await record(app, handle)
    assert (len(failed), kept.attempt, kept.failures, len(runs)) == (2, 1, (), 1)


async def test_a_worker_with_another_folder_tells_which_one(app: Outlast, tmp_path: Path) -> None:
    """As on another host, where a path is another folder."""

    def take_of(app: Outlast) -> Any:
        @app.job(queue="work")
        async def take(text: str) -> int:
            return len(text)

        return take

    elsewhere = claims_app(f"sqlite:{tmp_path}/jobs.db", tmp_path / "elsewhere")
    take_of(elsewhere)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carrier, "LOOKS", ())
        async with app, elsewhere:
            handle = await take_of(app).enqueue(LARGE)
            async with working(elsewhere):
                ended = await record(app, handle)
    assert ended.reason == "object-missing"
    assert f"not in file:{tmp_path}/elsewhere" in ended.failures[-1].message
    assert "need the same objects_url" in ended.failures[-1].message


async def test_many_large_jobs_are_fetched_as_many_at_once_as_run(
    app: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory of a worker is bounded by its slots, also while results wait for the object store."""

    @app.job(queue="work")
    async def shout(text: str) -> str:
        return text.upper()

    place = switched(app)
    get, at_once, most, runs = place.get, [0], [0], [0]

    async def counted(*args: Any) -> bytes:
        at_once[0] += 1
        runs[0] += 1
        most[0] = max(most[0], at_once[0])
        try:
            return await get(*args)
        finally:
            at_once[0] -= 1

    monkeypatch.setattr(place, "get", counted)
    async with app:
        handles = [await shout.enqueue(LARGE) for _ in range(40)]
        monkeypatch.setattr(place, "put", place._refuse)
        async with working(app, concurrency=3):
            await until(lambda: place.calls > 8, "results wait")
            held = runs[0]
            monkeypatch.undo()
            for handle in handles:
                assert await handle.result(60) == LARGE.upper()
    assert most[0] <= 3
    assert held <= 9, "no more jobs are taken than are claimed ahead"


async def test_a_folder_in_disorder_counts_as_away(app: Outlast, tmp_path: Path) -> None:
    """Neither the arguments of the caller nor the work of a run are to blame for a file where a folder should be."""

    @app.job(queue="work")
    async def make(size: int, text: str = "") -> str:
        return "r" * size

    wrong = tmp_path / "objects"
    wrong.write_bytes(b"")
    async with app:
        with pytest.raises(ToolkitAway, match="has a file where"):
            await make.enqueue(1, LARGE)
        async with working(app):
            handle = await make.enqueue(3000)
            await until(lambda: _runs(app), "it runs")
            wrong.unlink()
            assert await handle.result(60) == "r" * 3000


async def _runs(app: Outlast) -> bool:
    return (await (await app.runtime()).store.broker.stats(["work"]))["work"].running == 1
