"""Enqueue while Redis is away: refused within the deadline, or spooled to a file and relayed in order, once each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from outlast import EnqueueUnknown, Job, Outlast, Settings, StoreFull, StoreUnavailable
from outlast.brokers.sqlite.statements import open_store
from outlast.brokers.sqlite.tuning import Tuning
from outlast.clients.sqlite.file_system import durability_of
from outlast.core.errors import StoreCorrupt
from outlast.core.message import Holder, Message
from outlast.core.settlement import ACCEPTED, Exists, Finish, Full, Published, TooLarge
from outlast.core.store.records import Query
from outlast.enqueue.spool import Spool
from outlast.enqueue.spool_file import SpoolFile
from tests.support.polling import until
from tests.support.servers.proxy import proxied
from tests.support.servers.redis_fleet import Node


def shop(port: int, spool: Path | str = "", **settings: Any) -> tuple[Outlast, Job[Any, Any]]:
    """Return an app on a server that is given up within 0.3 s, and its one job."""
    url = f"redis://127.0.0.1:{port}/0?timeout=0.3&connect_timeout=0.3"
    app = Outlast("shop", settings=Settings(url=url, spool=str(spool), enqueue_timeout=1.0, **settings))

    @app.job(queue="mail")
    async def send(number: int) -> None: ...

    return app, send


async def kept(app: Outlast) -> list[str]:
    """Return the ids of what the store has, in order of acceptance."""
    page = await (await app.runtime()).store.records.find(Query(queue="mail", limit=1000))
    return [record.id for record in reversed(page.records)]


async def test_without_a_spool_enqueue_raises_until_the_server_is_back(server: Node) -> None:
    app, send = shop(server.port)
    async with app:
        await send.with_options(id="one").enqueue(1)
        server.kill()
        with pytest.raises((StoreUnavailable, EnqueueUnknown)):
            await send.with_options(id="two").enqueue(2)
        with pytest.raises(StoreUnavailable):  # it was never sent: nothing is unknown about it
            await send.with_options(id="three").enqueue(3)
        server.start()
        handle = await send.with_options(id="two").enqueue(2)
        assert handle.durability == "os-crash"
        assert await kept(app) == ["mail.one", "mail.two"]


async def test_an_enqueue_without_an_answer_is_unknown_within_the_deadline(server: Node) -> None:
    async with proxied(server.port) as proxy:
        app, send = shop(proxy.port)
        async with app:
            await send.with_options(id="one").enqueue(1)
            proxy.deafen()
            with pytest.raises(EnqueueUnknown) as raised:
                await send.with_options(id="two").enqueue(2)
            proxy.heal()
            assert raised.value.id == "mail.two"
            await send.with_options(id="two").enqueue(2)
            assert sorted(await kept(app)) == ["mail.one", "mail.two"]


async def test_spooled_jobs_are_relayed_in_order_when_the_server_is_back(server: Node, tmp_path: Path) -> None:
    app, send = shop(server.port, tmp_path / "outbox.db")
    async with app:
        first = await send.with_options(id="0").enqueue(0)
        server.kill()
        handles = [await send.with_options(id=f"{n}").enqueue(n) for n in range(1, 250)]
        assert first.durability == "os-crash"
        assert {each.durability for each in handles} == {durability_of(str(tmp_path / "outbox.db"))}
        assert all(each.created for each in handles)
        server.start()
        await until(lambda: SpoolFile(str(tmp_path / "outbox.db")).count() == (0, 0), "all of it has arrived")
        assert await kept(app) == [f"mail.{n}" for n in range(250)]
        assert (await send.with_options(id="last").enqueue(1)).durability == "os-crash"


async def test_a_spooled_update_waits_for_the_job_that_runs(server: Node, tmp_path: Path) -> None:
    app, send = shop(server.port, tmp_path / "spool.db")
    async with app:
        await send.with_options(id="old", unique="k").enqueue(1)
        broker = (await app.runtime()).store.broker
        holder = Holder("a" * 32)
        (given,) = await broker.claim({"mail": 1}, limit=1, holder=holder, lease=3600, wait=0)
        server.kill()
        for number in (2, 3):
            await send.with_options(id=f"new-{number}", unique="k", on_conflict="replace").enqueue(number)
        server.start()

        async def relayed() -> bool:
            return await kept(app) == ["mail.old", "mail.new-2", "mail.new-3"]

        await until(relayed, "the updates are relayed")
        records = await (await app.runtime()).store.records.get(["mail.new-2", "mail.new-3"])
        assert [record and record.state for record in records] == ["cancelled", "waiting"]
        assert await broker.settle([Finish(given.fence, "succeeded")]) == []
        (given,) = await broker.claim({"mail": 1}, limit=1, holder=holder, lease=3600, wait=0)
        assert given.message.id == "mail.new-3"


async def test_an_app_that_starts_without_its_server_spools_too(server: Node, tmp_path: Path) -> None:
    server.kill()
    app, send = shop(server.port, tmp_path / "outbox.db")
    await send.with_options(id="early").enqueue(1)
    await app.close()
    assert SpoolFile(str(tmp_path / "outbox.db")).count() == (1, 0)
    server.start()
    later, _ = shop(server.port, tmp_path / "outbox.db")  # another process, after a restart
    async with later:
        await until(lambda: SpoolFile(str(tmp_path / "outbox.db")).count() == (0, 0), "what was left has arrived")
        assert await kept(later) == ["mail.early"]


async def test_an_uncertain_job_is_relayed_and_kept_once(server: Node, tmp_path: Path) -> None:
    async with proxied(server.port) as proxy:
        app, send = shop(proxy.port, tmp_path / "outbox.db")
        async with app:
            await send.with_options(id="warm").enqueue(0)
            proxy.faults.cut_down = 0  # the server takes it, and we do not hear of it
            handle = await send.with_options(id="one").enqueue(1)
            assert handle.durability == durability_of(str(tmp_path / "outbox.db"))
            proxy.heal()
            await until(lambda: SpoolFile(str(tmp_path / "outbox.db")).count() == (0, 0), "it was relayed")
            assert await kept(app) == ["mail.warm", "mail.one"]


async def test_a_blocking_enqueue_spools_too(server: Node, tmp_path: Path) -> None:
    server.kill()
    app, send = shop(server.port, tmp_path / "outbox.db")
    handle = await asyncio.to_thread(send.with_options(id="one").enqueue_sync, 1)
    assert handle.id == "mail.one"
    server.start()
    await until(lambda: SpoolFile(str(tmp_path / "outbox.db")).count() == (0, 0), "it was relayed")
    assert await kept(app) == ["mail.one"]
    await app.close()


async def test_the_spool_is_bounded(server: Node, tmp_path: Path) -> None:
    server.kill()
    app, send = shop(server.port, tmp_path / "outbox.db", spool_limit=2)
    for number in (1, 2):
        await send.enqueue(number)
    with pytest.raises(StoreFull, match=r"holds 2 jobs and accepts no more \(spool_limit=2\)"):
        await send.enqueue(3)
    await app.close()


def test_the_file_of_a_store_is_refused_by_the_name_of_the_setting(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    open_store(path, Tuning()).close()
    with pytest.raises(StoreCorrupt, match=r"^spool='.*jobs\.db': .* give the spool a file of its own$"):
        SpoolFile(path).count()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("no database")
    with pytest.raises(StoreCorrupt):
        SpoolFile(str(tmp_path / "jobs.db")).count()
    assert (tmp_path / "jobs.db").read_text() == "no database"


def message(queue: str, number: int) -> Message:
    app, _ = shop(1)

    @app.job(queue=queue)
    async def other(number: int) -> None: ...

    return other.with_options(id=f"{number}").message(number)


async def test_a_full_queue_keeps_its_jobs_in_the_spool_and_delays_no_other(tmp_path: Path) -> None:
    taken: list[str] = []
    full = True

    async def publish(messages: Sequence[Message]) -> list[Published]:
        answers: list[Published] = []
        for each in messages:
            if each.queue == "full" and full:
                answers.append(Full(0.01))
            elif each.queue == "large":
                answers.append(TooLarge(9, 1))
            else:
                taken.append(each.id)
                answers.append(ACCEPTED if each.queue == "free" else Exists(each.id))
        return answers

    async def away() -> Any:
        raise StoreUnavailable("away")

    outbox = Spool(str(tmp_path / "outbox.db"), limit=100, publish=publish, same_kind=str.__eq__)
    sent = [message(queue, number) for number in (1, 2) for queue in ("full", "free", "large")]
    await outbox.through(sent, away)
    spool = SpoolFile(str(tmp_path / "outbox.db"))
    await until(lambda: [each.id for each in spool.head(9)] == ["full.1", "full.2"], "the others have left the spool")
    assert taken == ["free.1", "free.2"]
    full = False
    await until(lambda: spool.count() == (0, 2), "all have arrived, and two were refused for good")
    assert taken == ["free.1", "free.2", "full.1", "full.2"]
    await outbox.close()


async def test_one_process_relays_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "outbox.db")
    asked: list[int] = []

    async def publish(messages: Sequence[Message]) -> list[Published]:
        asked.append(len(messages))
        return [ACCEPTED] * len(messages)

    async def away() -> Any:
        raise StoreUnavailable("away")

    outbox = Spool(path, limit=100, publish=publish, same_kind=str.__eq__)
    with SpoolFile(path).relaying() as mine:
        assert mine
        await outbox.through([message("free", 1)], away)
        with SpoolFile(path).relaying() as second:
            assert not second
        assert not asked
    await until(lambda: asked == [1], "it takes over")
    await outbox.close()


async def test_only_one_enqueue_waits_for_an_unavailable_store(tmp_path: Path) -> None:
    asked = 0
    back = False

    async def direct() -> Any:
        nonlocal asked
        asked += 1
        raise StoreUnavailable("away")

    async def publish(messages: Sequence[Message]) -> list[Published]:
        if not back:
            raise StoreUnavailable("still away")
        return [ACCEPTED] * len(messages)

    outbox = Spool(str(tmp_path / "outbox.db"), limit=100, publish=publish, same_kind=str.__eq__)
    for number in range(50):
        await outbox.through([message("free", number)], direct)
    assert asked == 1
    back = True
    await until(lambda: SpoolFile(str(tmp_path / "outbox.db")).count() == (0, 0), "the relay finds out that it is back")
    await outbox.through([message("free", 50)], direct)
    assert asked == 2
    await outbox.close()
