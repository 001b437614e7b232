"""The Redis store through servers that die, forget, fill up and change places, and lines that are cut at every byte."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from outlast.aio.clock import SystemClock
from outlast.brokers.redis.store import RedisStore, store_at
from outlast.clients.redis.discovery import slot_of
from outlast.core.errors import ConfigurationError, StoreError, StoreFull, StoreUnavailable, StoreUncertain
from outlast.core.exchanges.values import Binding, Exchange, ExchangeEvent
from outlast.core.message import Delivery, Holder, Message
from outlast.core.settlement import Accepted, Finish
from outlast.core.store.control import Purge
from outlast.core.store.records import Query
from outlast.core.topology import Queue, Topology
from tests.support.polling import until
from tests.support.servers.proxy import Proxy, proxied
from tests.support.servers.redis_fleet import Node, cluster, node, sentinels

ANN, BOB = Holder("ann"), Holder("bob")


@asynccontextmanager
async def stored(url: str, *, opened: bool = True, patience: float = 0.4) -> AsyncIterator[RedisStore]:
    """Have a store that waits `patience` seconds for anything: long where a cut is what it must see, and no silence."""
    query = f"timeout={patience}&connect_timeout={patience}"
    store = store_at(f"{url}{'&' if '?' in url else '?'}{query}", clock=SystemClock(), max_body=1 << 20)
    try:
        if opened:
            await store.open()
        yield store
    finally:
        await store.close()


def through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


def message(name: str) -> Message:
    return Message(id=f"mail.{name}", queue="mail", kind="send", args=Raw(b'{"n":1}'), enqueued_at=1.0, run_at=1.0)


async def claim(store: RedisStore, limit: int = 10, holder: Holder = ANN, lease: float = 30.0) -> list[Delivery]:
    return await store.claim({"mail": limit}, limit=limit, holder=holder, lease=lease, wait=0)


async def finish(store: RedisStore, deliveries: Sequence[Delivery]) -> None:
    assert await store.settle([Finish(each.fence, "succeeded") for each in deliveries]) == []


async def states(store: RedisStore) -> dict[str, str]:
    page = await store.find(Query(queue="mail", limit=1000))
    return {record.id: record.state for record in page.records}


async def test_accepted_jobs_survive_a_kill_of_the_server(server: Node) -> None:
    async with stored(server.url) as store:
        accepted: list[str] = []
        unknown: list[str] = []
        killed = asyncio.Event()

        async def enqueue(worker: int) -> None:
            for number in range(10_000):
                name = f"{worker}-{number}"
                try:
                    await store.publish([message(name)])
                except StoreUncertain:
                    unknown.append(f"mail.{name}")
                except StoreUnavailable:
                    return
                else:
                    accepted.append(f"mail.{name}")
                if len(accepted) > 400:
                    killed.set()

        tasks = [asyncio.create_task(enqueue(worker)) for worker in range(8)]
        await killed.wait()
        await asyncio.to_thread(server.kill)
        await asyncio.gather(*tasks)
        await asyncio.to_thread(server.start)
        found = await store.get(accepted)
        assert all(record is not None for record in found)
        await store.publish([message(each[5:]) for each in unknown])  # to repeat is safe, whatever came of it
        (mail,) = (await store.stats(["mail"])).values()
        assert mail.depth == len(accepted) + len(unknown)


async def test_a_flushed_server_is_detected_and_used_again(server: Node, caplog: pytest.LogCaptureFixture) -> None:
    async with stored(server.url) as store:
        await store.declare(Topology((Queue(name="mail", max_depth=2),), app="shop"))
        await store.publish([message("1")])
        (held,) = await claim(store)
        server.ask("FLUSHALL")
        with caplog.at_level(logging.ERROR):
            assert [type(each).__name__ for each in await store.publish([message(n) for n in "234"])] == [
                "Accepted",
                "Accepted",
                "Full",
            ]
        assert "was flushed: its jobs are lost" in caplog.text
        assert [each.fence for each in await store.settle([Finish(held.fence, "succeeded")]) or []] == [held.fence]
        again = await claim(store)
        assert min(each.fence.token for each in again) > held.fence.token  # no token is ever given twice
        await finish(store, again)


async def test_exchanges_of_a_flushed_server_are_declared_again(server: Node) -> None:
    exchange = Exchange(name="orders", type="fanout")
    binding = Binding(exchange="orders", queue="mail", kind="send", parameter="n")
    events = [
        ExchangeEvent(id=str(n), exchange="orders", key="", body=Raw(b"1"), at=1.0) for n in range(2)
    ]  # fmt: skip
    async with stored(server.url) as store, stored(server.url) as other:
        await store.declare(Topology((Queue(name="mail"),), "shop", exchanges=(exchange,), bindings=(binding,)))
        assert [len(each.copies) for each in await store.publish_events(events)] == [1, 1]
        before = await store.bindings()
        for first in (store.publish_events, other.publish_events):  # one knows the bindings, the other none yet
            server.ask("FLUSHALL")
            if first == other.publish_events:
                with pytest.raises(ConfigurationError, match="not declared"):
                    await first(events)  # it declares none itself
            again = await store.publish_events(events)
            assert [[type(copy.answer) for copy in each.copies] for each in again] == [[Accepted], [Accepted]]
            after = await store.bindings()
            assert (after.exchanges, after.bindings) == (before.exchanges, before.bindings)
            assert after.version > before.version
        assert [len(each.copies) for each in await other.publish_events(events)] == [1, 1]


async def test_a_full_server_accepts_nothing_and_loses_nothing(server: Node) -> None:
    async with stored(server.url) as store:
        await store.publish([message("1")])
        server.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreFull, match="at its maxmemory"):
            await store.publish([message("2")])
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await states(store) == {"mail.1": "ready"}
        await finish(store, await claim(store))


async def test_on_a_full_server_running_jobs_are_renewed_and_settled_and_jobs_can_be_removed(server: Node) -> None:
    async with stored(server.url) as store:
        await store.publish([message(name) for name in "1234"])
        one, two = await claim(store, 2)
        server.ask("CONFIG", "SET", "maxmemory", "1")
        assert await store.extend(ANN, lease=30.0) == []
        await finish(store, [one])
        assert await store.settle([Finish(two.fence, "succeeded", result=Raw(b'"done"'))]) == []
        with pytest.raises(StoreFull, match="at its maxmemory"):  # nothing new begins, for what it leaves has no bound
            await claim(store)
        assert (await store.apply([Purge(id="mail.3")]))[0].changed == 1
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await states(store) == {"mail.1": "succeeded", "mail.2": "succeeded", "mail.4": "ready"}


async def test_a_new_store_can_read_and_purge_a_full_server(server: Node) -> None:
    async with stored(server.url) as store:
        await store.publish([message("1"), message("2")])
    server.ask("CONFIG", "SET", "maxmemory", "1")
    async with stored(server.url) as store:
        assert await states(store) == {"mail.1": "ready", "mail.2": "ready"}
        assert (await store.stats(["mail"]))["mail"].depth == 2
        assert (await store.apply([Purge(queue="mail", states=("ready",))]))[0].changed == 2
        assert await states(store) == {}
    async with stored(f"{server.url}?namespace=new", opened=False) as store:
        with pytest.raises(StoreFull, match="at its maxmemory"):
            await store.open()


async def test_a_demoted_server_hands_out_and_accepts_nothing(server: Node, tmp_path: Path) -> None:
    with node(tmp_path / "other") as other:
        async with stored(server.url) as store:
            await store.publish([message("1")])
            server.ask("REPLICAOF", "127.0.0.1", other.port)
            for call in (store.publish([message("2")]), claim(store)):
                with pytest.raises(StoreUnavailable):
                    await call
            server.ask("REPLICAOF", "NO", "ONE")
            await until(lambda: _works(store), "it is the master again")


def _more(proxy: Proxy, than: int) -> bool:
    return proxy.up > than


async def _works(store: RedisStore) -> bool:
    with contextlib.suppress(StoreError):
        await store.publish([message("again")])
        return True
    return False


async def test_a_claim_with_a_lost_reply_is_undone(server: Node) -> None:
    async with proxied(server.port) as proxy, stored(through(proxy)) as store:
        await store.publish([message("1")])
        proxy.faults.cut_down = 0
        with pytest.raises(StoreUncertain):
            await claim(store)
        proxy.heal()
        async with stored(server.url) as other:
            (got,) = await until(lambda: claim(other, holder=BOB), "it is ready again, before ann's lease ends")
            assert (got.attempt, got.crashes) == (1, 0)
            await finish(other, [got])


async def test_a_claim_that_comes_after_it_was_undone_hands_out_nothing(server: Node) -> None:
    async with proxied(server.port) as proxy, stored(through(proxy)) as store, stored(server.url) as other:
        await store.publish([message("1")])
        server.ask("CLIENT", "PAUSE", 60_000, "WRITE")  # the claim waits there while we give it up
        with pytest.raises(StoreUncertain):
            await claim(store)
        server.ask("CLIENT", "UNPAUSE")
        (got,) = await until(lambda: claim(other, holder=BOB), "it is free")
        await finish(other, [got])
        assert await claim(store) == []


@pytest.mark.parametrize("side", ["up", "down"])
async def test_an_enqueue_is_cut_at_every_byte(server: Node, side: str) -> None:
    outcomes: dict[str, str] = {}
    async with proxied(server.port) as proxy, stored(through(proxy), patience=30) as store:
        await store.publish([message("warm")])  # the scripts are loaded
        before = proxy.up, proxy.down
        await store.publish([message("probe")])
        size = proxy.up - before[0] if side == "up" else proxy.down - before[1]
        for byte in range(size + 1):
            name = f"{byte:04}"
            setattr(proxy.faults, f"cut_{side}", byte)
            try:
                (answer,) = await store.publish([message(name)])
                outcomes[f"mail.{name}"] = type(answer).__name__
            except StoreUnavailable as error:
                outcomes[f"mail.{name}"] = type(error).__name__
            proxy.heal()
            await store.stats(["mail"])  # the next cut is to meet a connection that is up
        there = await states(store)
        assert {name for name, how in outcomes.items() if how in ("Accepted", "Exists")} <= set(there)
        assert all(how == "StoreUncertain" for name, how in outcomes.items() if how not in ("Accepted", "Exists"))
        # A repeat is safe after any outcome: then all jobs are there, once.
        await store.publish([message(name[5:]) for name in outcomes])
        (mail,) = (await store.stats(["mail"])).values()
        assert mail.depth == len(outcomes) + 2


@pytest.mark.parametrize("side", ["up", "down"])
async def test_an_event_is_cut_at_every_byte(server: Node, side: str) -> None:
    """Whatever the outcome, a repeat with the same id completes it, and each queue has each event once."""
    queues = ("mail", "stock")
    bindings = tuple(Binding(exchange="orders", queue=queue, kind="send", parameter="n") for queue in queues)
    topology = Topology(
        tuple(Queue(name=queue) for queue in queues), "shop", exchanges=(Exchange(name="orders", type="fanout"),),
        bindings=bindings,
    )  # fmt: skip

    def event(name: str) -> ExchangeEvent:
        return ExchangeEvent(id=name, exchange="orders", key="", body=Raw(b"1"), at=1.0)

    outcomes: dict[str, str] = {}
    async with proxied(server.port) as proxy, stored(through(proxy), patience=30) as store:
        await store.declare(topology)
        await store.publish_events([event("warm")])  # the scripts are loaded
        before = proxy.up, proxy.down
        await store.publish_events([event("probe")])
        size = proxy.up - before[0] if side == "up" else proxy.down - before[1]
        for byte in range(size + 1):
            name = f"{byte:04}"
            setattr(proxy.faults, f"cut_{side}", byte)
            try:
                (routed,) = await store.publish_events([event(name)])
                outcomes[name] = " ".join(type(each.answer).__name__ for each in routed.copies)
            except StoreUnavailable as error:
                outcomes[name] = type(error).__name__
            proxy.heal()
            await store.stats(["mail"])  # the next cut is to meet a connection that is up
        assert set(outcomes.values()) <= {"Accepted Accepted", "Exists Exists", "StoreUncertain"}
        await store.publish_events([event(name) for name in outcomes])
        depths = {name: each.depth for name, each in (await store.stats(queues)).items()}
        assert depths == dict.fromkeys(queues, len(outcomes) + 2)


@pytest.mark.parametrize("side", ["up", "down"])
@pytest.mark.parametrize("what", ["claim", "settle"])
async def test_a_claim_and_a_settlement_are_cut_at_every_byte(server: Node, what: str, side: str) -> None:
    """However it is cut, each job is done once or more, and none is left behind."""
    runs: dict[str, int] = {}

    async def session(store: RedisStore, proxy: Proxy, byte: int) -> bool:
        """Claim and settle as a worker does; tell whether the cut was met."""
        met = False
        if what == "claim":
            setattr(proxy.faults, f"cut_{side}", byte)
        try:
            got = await claim(store)
        except StoreUnavailable:
            met, got = True, []
        proxy.heal()
        while not got:
            got = await claim(store)
        for each in got:
            runs[each.fence.id] = runs.get(each.fence.id, 0) + 1
        if what == "settle":
            setattr(proxy.faults, f"cut_{side}", byte)
        while True:
            try:
                await finish(store, got)
            except StoreUnavailable:
                met = True
                proxy.heal()
            else:
                break
        proxy.heal()
        return met

    async with proxied(server.port) as proxy, stored(through(proxy), patience=30) as store:
        byte = 0
        while True:
            await store.publish([message(f"{byte:04}")])
            if byte == 0:
                await finish(store, await claim(store))  # the scripts are loaded
                await store.publish([message("first")])
            if not await session(store, proxy, byte):
                break
            byte += 1
        there = await states(store)
        assert byte >= 4  # "*0" and its end: what a settlement is answered when all of it counts
        assert len(there) == byte + 2
        assert set(there.values()) == {"succeeded"}
        assert runs == dict.fromkeys(set(there) - {"mail.0000"}, 1)


async def test_a_cancelled_claim_hands_out_nothing(server: Node) -> None:
    async with proxied(server.port) as proxy, stored(through(proxy)) as store:
        await store.publish([message(str(n)) for n in range(20)])
        proxy.faults.delay = 0.01
        for _ in range(10):
            claiming = asyncio.create_task(claim(store, 5))
            before = proxy.up
            await until(partial(_more, proxy, before), "it is on its way")
            claiming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await claiming
        proxy.heal()
        async with stored(server.url) as other:
            got: list[Delivery] = []

            async def all_of_them() -> bool:
                got.extend(await claim(other, 20, BOB))
                return len(got) == 20

            await until(all_of_them, "all are given back")
            assert {(each.attempt, each.crashes) for each in got} == {(1, 0)}


async def test_a_cluster_that_loses_the_master_of_a_queue_loses_no_job(tmp_path: Path) -> None:
    with cluster(tmp_path, masters=3, replicas=3, appendonly="yes") as nodes:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}?durability=replicated"
        async with stored(url) as store:
            for number in range(30):
                await store.publish([message(str(number))])
            held = await claim(store, 10)
            ours = slot_of("{outlast:mail}") * 3 // 16384
            await asyncio.to_thread(nodes[ours].kill)

            async def settled() -> Any:
                with contextlib.suppress(StoreUnavailable):
                    return await store.settle([Finish(each.fence, "succeeded") for each in held]) is not None
                return False

            await until(settled, "the replica has become the master")
            assert set(await states(store)) == {f"mail.{number}" for number in range(30)}
            assert len(await claim(store, 30)) == 20


async def test_a_cluster_that_loses_another_master_is_not_stopped(tmp_path: Path) -> None:
    with cluster(tmp_path, masters=3, cluster_require_full_coverage="no") as nodes:
        async with stored(f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}") as store:
            await store.publish([message("1")])
            ours = slot_of("{outlast:mail}") * 3 // 16384
            await asyncio.to_thread(nodes[(ours + 1) % 3].kill)
            await store.publish([message("2")])
            await finish(store, await claim(store))
            assert set((await states(store)).values()) == {"succeeded"}


async def test_a_failover_loses_nothing_that_was_replicated(tmp_path: Path) -> None:
    with sentinels(tmp_path, appendonly="yes") as (servers, watchers):
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in watchers)
        async with stored(f"redis+sentinel://{hosts}/mymaster?durability=replicated") as store:
            assert store.capabilities.durability == "replicated"
            sure = [f"mail.{n}" for n in range(50)]
            for each in sure:
                await store.publish([message(each[5:])])
            held = await claim(store, 10)
            await asyncio.to_thread(servers[0].kill)

            async def settled() -> Any:
                with contextlib.suppress(StoreUnavailable):
                    return await store.settle([Finish(each.fence, "succeeded") for each in held]) is not None
                return False

            await until(settled, "the new master takes what ran meanwhile")
            done = await states(store)
            assert set(sure) <= set(done)
            with pytest.raises(StoreUncertain, match="only 0 of 1 replicas"):
                await store.publish([message("late")])
