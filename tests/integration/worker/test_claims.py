"""Large arguments and results in the object store: invisible to handlers and callers, also while it is away."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from outlast import ConfigurationError, Context, ObjectDamaged, ObjectNotFound, Outlast, QueueFull, ToolkitAway
from outlast.core.claims import Claim, claim_json
from outlast.core.codec import changed_args
from outlast.core.errors import InvalidArguments, JobNotFound
from outlast.core.message import Message
from outlast.core.store.control import Edit, Redrive
from outlast.enqueue.handle import Handle
from outlast.worker import carrier
from tests.support.claims import claims_app, claims_in, switched
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import shared_rabbit
from tests.support.stores import namespace_of, redis_url
from tests.support.working import new_app, record, working

LARGE = "x" * 5000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of the test's own."""
    if request.param == "redis":
        return f"{redis_url()}?namespace={namespace_of(tmp_path)}"
    return "memory:" if request.param == "memory" else f"sqlite:{tmp_path}/jobs.db"


@pytest.fixture
def app(tmp_path: Path, folder: Path) -> Outlast:
    return claims_app(f"sqlite:{tmp_path}/jobs.db", folder)


def jobs_of(app: Outlast) -> dict[str, Any]:
    """Declare a job of each mode that returns its argument in upper case."""

    @app.job(queue="work", timeout=60)
    async def on_loop(text: str) -> str:
        return text.upper()

    @app.job(queue="work", timeout=60)
    def in_thread(text: str) -> str:
        return text.upper()

    return {"async": on_loop, "thread": in_thread}


@pytest.mark.parametrize("mode", ["async", "thread"])
async def test_a_handler_and_a_caller_see_what_was_given(url: str, folder: Path, mode: str) -> None:
    app = claims_app(url, folder)
    job = jobs_of(app)[mode]
    async with app:
        large, small = await job.enqueue(LARGE), await job.enqueue("x")
        assert len(claims_in(folder)) == 1
        async with working(app):
            assert await large.result(60) == LARGE.upper()
            assert await small.result(60) == "X"
        assert len(claims_in(folder)) == 2
        kept = await large.record()
        assert kept.result == LARGE.upper()
        assert (await small.record()).args == {"text": "x"}
        # The record names the object: its size and its digest, and nothing of what is in it.
        body = json.dumps({"text": LARGE}, separators=(",", ":")).encode()
        reference = kept.args["outlast:object"]
        assert (reference["size"], reference["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
        assert kept.attempt == 1


async def test_small_bodies_need_no_object_store(app: Outlast, folder: Path) -> None:
    job = jobs_of(app)["async"]
    switched(app).away = True
    async with app, working(app):
        assert await (await job.enqueue("x" * 900)).result(60) == "X" * 900
    assert not folder.exists()


async def test_follow_ups_carry_large_arguments(url: str, folder: Path) -> None:
    app = claims_app(url, folder)
    job = jobs_of(app)["async"]
    ids: list[str] = []

    @app.job(queue="work")
    async def parent(ctx: Context, size: int) -> None:
        ids.append(job.with_options(id="then").message("y" * size).id)
        await ctx.enqueue(job.with_options(id="then"), "y" * size)

    async with app, working(app):
        await (await parent.enqueue(3000)).result(60)
        assert await app.handle(ids[0]).result(60) == "Y" * 3000
    assert len(claims_in(folder)) == 2


@pytest.mark.parametrize("isolate", ["process"])
async def test_isolated_jobs(tmp_path: Path, folder: Path, isolate: str) -> None:
    from tests.support.apps.claims_isolated import app as isolated
    from tests.support.apps.claims_isolated import shout

    assert isolate == shout.declaration.mode
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTLAST_URL", f"sqlite:{tmp_path}/jobs.db")
        patch.setenv("OUTLAST_OBJECTS_URL", f"file:{folder}")
        patch.setenv("OUTLAST_OBJECTS_OVER", "1000")
        async with isolated, working(isolated, target="tests.support.apps.claims_isolated:app"):
            assert await (await shout.enqueue(LARGE)).result(90) == LARGE.upper()
    assert len(claims_in(folder)) == 2


async def test_while_the_object_store_is_away_an_enqueue_stores_nothing(app: Outlast, folder: Path) -> None:
    job = jobs_of(app)["async"]
    place = switched(app)
    async with app:
        place.away = True
        with pytest.raises(ToolkitAway):
            await job.enqueue(LARGE)
        stats = await (await app.runtime()).store.broker.stats(["work"])
        assert stats["work"].depth == 0


async def test_while_it_is_away_a_spool_keeps_the_job(tmp_path: Path, folder: Path) -> None:
    app = claims_app(f"sqlite:{tmp_path}/jobs.db", folder, spool=str(tmp_path / "spool.db"))
    job = jobs_of(app)["async"]
    place = switched(app)
    async with app:
        place.away = True
        handle = await job.enqueue(LARGE)
        assert handle.durability in ("process-crash", "os-crash")
        place.away = False
        async with working(app):
            await until(lambda: _is_stored(handle), "the job is relayed")
            assert await handle.result(60) == LARGE.upper()


async def _is_stored(handle: Handle[str]) -> bool:
    try:
        return await handle.record() is not None
    except JobNotFound:
        return False


async def test_a_fetch_from_a_store_that_is_away_costs_time_and_no_attempt(
    app: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "PUT_OFF", 0.05)
    monkeypatch.setattr(carrier, "SPREAD", 0.05)
    job = jobs_of(app)["thread"].with_options()
    place = switched(app)
    async with app:
        handles = [await job.enqueue(LARGE) for _ in range(3)]
        place.away = True
        async with working(app):
            await until(lambda: place.calls > 1, "it was tried more than once")
            place.away = False
            for handle in handles:
                assert await handle.result(60) == LARGE.upper()
                assert ((await handle.record()).attempt, (await handle.record()).failures) == (1, ())


async def test_a_result_waits_for_the_store_and_the_handler_runs_once(app: Outlast) -> None:
    runs: list[int] = []

    @app.job(queue="work", timeout=1)
    async def make(size: int) -> str:
        runs.append(size)
        return "r" * size

    place = switched(app)
    async with app, working(app, concurrency=4):
        place.away = True
        large = [await make.enqueue(3000) for _ in range(2)]
        await until(lambda: place.calls > 2, "it was tried")
        assert await (await make.enqueue(1)).result(60) == "r", "other jobs run meanwhile"
        place.away = False
        for handle in large:
            assert await handle.result(60) == "r" * 3000
    assert sorted(runs) == [1, 3000, 3000]


async def test_a_worker_that_stops_gives_back_what_it_cannot_keep(tmp_path: Path, folder: Path) -> None:
    app = claims_app(f"sqlite:{tmp_path}/jobs.db", folder, drain_grace=0.1)

    @app.job(queue="work")
    async def make(size: int) -> str:
        return "r" * size

    @app.job(queue="work")
    def take(text: str) -> int:
        return len(text)

    place = switched(app)
    async with app:
        fetched = await take.enqueue(LARGE)
        made = await make.enqueue(3000)
        place.away = True
        async with working(app):
            await until(lambda: place.calls > 2, "both were tried")
        for handle in (fetched, made):
            left = await handle.record()
            assert (left.state in ("ready", "scheduled"), left.attempt, left.crashes) == (True, 1, 0), left
        place.away = False
        async with working(app):
            assert await fetched.result(60) == 5000
            assert await made.result(60) == "r" * 3000


@pytest.mark.parametrize("damage", ["gone", "other", "short", "long"])
async def test_arguments_that_are_not_what_was_put_end_the_job(
    app: Outlast, folder: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "LOOKS", (0.0, 0.0))
    job = jobs_of(app)["async"]
    async with app:
        handle = await job.enqueue(LARGE)
        (file,) = claims_in(folder)
        body = file.read_bytes()
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes({"other": body.replace(b"x", b"y"), "short": body[:-1], "long": body + b" "}[damage])
        async with working(app):
            ended = await record(app, handle)
        assert (ended.state, ended.attempt) == ("dead", 1)
        assert ended.reason == ("object-missing" if damage == "gone" else "object-damaged")
        assert file.name in ended.failures[-1].message
        file.write_bytes(body)
        await (await app.runtime()).store.control.apply([Redrive(handle.id)])
        async with working(app):
            assert await handle.result(60) == LARGE.upper()


async def test_arguments_that_come_a_little_later_are_found(app: Outlast, folder: Path) -> None:
    job = jobs_of(app)["async"]
    async with app:
        handle = await job.enqueue(LARGE)
        (file,) = claims_in(folder)
        body = file.read_bytes()
        file.unlink()
        async with working(app):
            await asyncio.sleep(0)
            await until(lambda: _running(app), "it was looked for")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
            assert await handle.result(60) == LARGE.upper()


async def _running(app: Outlast) -> bool:
    return (await (await app.runtime()).store.broker.stats(["work"]))["work"].running == 1


async def test_a_result_that_is_gone_or_damaged_is_told(app: Outlast, folder: Path) -> None:
    job = jobs_of(app)["async"]
    async with app:
        handle = await job.enqueue(LARGE)
        async with working(app):
            await record(app, handle)
        (file,) = (each for each in claims_in(folder) if ".result-" in each.name)
        file.write_bytes(file.read_bytes().replace(b"X", b"Y"))
        for read in (handle.result, handle.record):
            with pytest.raises(ObjectDamaged, match="SHA-256"):
                await read()
        file.unlink()
        with pytest.raises(ObjectNotFound):
            await handle.result()
        assert await handle.status() == "succeeded"


async def test_a_result_that_looks_like_a_reference_is_none(tmp_path: Path, folder: Path) -> None:
    alike = msgspec.json.decode(claim_json(Claim("result-" + "0" * 16, 1, "0" * 64)))
    others = [
        {**alike, "more": 1},
        {**alike, "more": "x" * 500},
        {"outlast:object": 7},
        {"a": alike},
        [alike],
        "outlast:object",
    ]
    app = claims_app(f"sqlite:{tmp_path}/jobs.db", folder)

    @app.job(queue="work")
    async def give(index: int) -> Any:
        return [alike, *others][index]

    async with app, working(app):
        for index, value in enumerate([alike, *others]):
            assert await (await give.enqueue(index)).result(60) == value


async def test_a_reference_names_only_objects_of_its_own_job(app: Outlast, folder: Path) -> None:
    """A client that can send messages cannot read the arguments of other jobs."""
    job = jobs_of(app)["async"]
    async with app:
        victim = await job.with_options(id="victim").enqueue(LARGE)
        reference = msgspec.json.encode((await victim.record()).args)
        now = app.composer.clock.time()
        stolen = Message(
            id="work.thief", queue="work", kind="on_loop", args=Raw(reference), enqueued_at=now, run_at=now
        )
        (thief,) = await app.send([stolen])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(carrier, "LOOKS", ())
            async with working(app):
                assert (await record(app, thief)).reason == "object-missing"
                assert await victim.result(60) == LARGE.upper()


async def test_a_client_that_does_not_know_references_refuses_them(app: Outlast) -> None:
    """What an older worker does with one: its handler has no such parameter."""
    arguments = app.composer.arguments if jobs_of(app) else {}
    with pytest.raises(InvalidArguments, match="outlast:object"):
        arguments["on_loop"].load(claim_json(Claim("args-" + "0" * 16, 1, "0" * 64)))


async def test_the_object_of_a_refused_job_is_removed_at_once(app: Outlast, folder: Path) -> None:
    job = jobs_of(app)["async"]
    app.queue("work", max_depth=1)
    async with app:
        await job.enqueue(LARGE)
        with pytest.raises(QueueFull):
            await job.enqueue(LARGE)
        assert len(claims_in(folder)) == 1


async def test_a_repeated_enqueue_keeps_the_object_of_the_first(app: Outlast, folder: Path) -> None:
    job = jobs_of(app)["async"].with_options(id="one")
    async with app:
        first = await job.enqueue(LARGE)
        again = await job.enqueue("z" * 4000)
        assert (first.created, again.created) == (True, False)
        async with working(app):
            assert await again.result(60) == LARGE.upper()


async def test_many_messages_in_one_step(app: Outlast, folder: Path) -> None:
    job = jobs_of(app)["async"]
    async with app:
        handles = await app.enqueue_many(job.message(str(n) * (n * 100)) for n in range(1, 30))
        async with working(app):
            for n, handle in enumerate(handles, 1):
                assert await handle.result(60) == str(n) * (n * 100)


async def test_an_object_is_put_again_when_the_publish_came_late(app: Outlast, folder: Path) -> None:
    """A process that stood still for half of `objects_keep`: a sweep has removed the object meanwhile."""
    from outlast.toolkit.objects import claims as module

    job = jobs_of(app)["async"]
    async with app:
        runtime = await app.runtime()
        publish, now = runtime.store.broker.publish, [0.0]

        async def late(messages: Any) -> Any:
            now[0] += app.settings.objects_keep
            for file in claims_in(folder):
                file.unlink()
            return await publish(messages)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "LATE", 0.0)
            patch.setattr(type(runtime.claims), "moment", lambda _: now[0])
            patch.setattr(runtime.store.broker, "publish", late)
            handle = await job.enqueue(LARGE)
        async with working(app):
            assert await handle.result(60) == LARGE.upper()


async def test_single_arguments_of_a_reference_cannot_be_edited(app: Outlast) -> None:
    job = jobs_of(app)["async"]
    async with app:
        handle = await job.enqueue(LARGE)
        control = (await app.runtime()).store.control
        assert not (await control.apply([Edit(handle.id, change=Raw(b'{"text":"y"}'))]))[0].ok
        with pytest.raises(InvalidArguments, match="give all of them"):
            changed_args(Raw(msgspec.json.encode((await handle.record()).args)), Raw(b'{"text":"y"}'))
        assert (await control.apply([Edit(handle.id, args=Raw(b'{"text":"y"}'))]))[0].ok
        async with working(app):
            assert await handle.result(60) == "Y"


async def test_without_a_place_for_objects_bodies_stay_with_their_jobs(tmp_path: Path) -> None:
    app = new_app(f"{redis_url()}?namespace={namespace_of(tmp_path)}", objects_over=1000)
    job = jobs_of(app)["async"]
    async with app, working(app):
        handle = await job.enqueue(LARGE)
        assert await handle.result(60) == LARGE.upper()
        assert (await handle.record()).args == {"text": LARGE}
        with pytest.raises(ConfigurationError, match="is not set"):
            await app.objects.put("a", b"x")


async def test_over_rabbitmq_arguments_go_by_reference_and_unkept_results_nowhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "PUT_OFF", 0.05)
    monkeypatch.setattr(carrier, "SPREAD", 0.05)
    with shared_rabbit().vhost() as vhost:
        app = claims_app(shared_rabbit().url_of(vhost), folder)
        got: list[int] = []

        @app.job(queue="work")
        async def take(text: str) -> str:
            got.append(len(text))
            return text

        place = switched(app)
        async with app:
            await take.enqueue(LARGE)
            (file,) = claims_in(folder)
            place.away = True
            async with working(app):
                await until(lambda: place.calls, "it was tried")
                place.away = False
                await until(lambda: got, "the job ran")
            assert (got, claims_in(folder)) == ([5000], [file])
