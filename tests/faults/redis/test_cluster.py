"""A Cluster of three masters: the spread of queues, and calls while a master is killed or a slot is moved."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec import Raw

from outlast.aio.clock import SystemClock
from outlast.brokers.redis.store import RedisStore, store_at
from outlast.clients.redis.discovery import slot_of
from outlast.core.errors import StoreUnavailable, StoreUncertain
from outlast.core.exchanges.values import Binding, Exchange, ExchangeEvent
from outlast.core.message import Delivery, Holder
from outlast.core.schedule import ScheduleAdvance, ScheduleEntry, Spec
from outlast.core.settlement import ACCEPTED, Exists, Finish, Full
from outlast.core.store.control import Purge
from outlast.core.store.records import Query
from outlast.core.topology import Queue, Topology
from tests.faults.redis.dying_relay import FOLLOWERS, follow_ups
from tests.support.jobs import A, B, message
from tests.support.polling import until
from tests.support.servers.redis_cluster import permit, user
from tests.support.servers.redis_fleet import Node, cluster, wait_for
from tests.support.working import new_app, record, working

T = TypeVar("T")
ORDERS = Exchange(name="orders", type="fanout")
ROOT = Path(__file__).resolve().parents[3]


class Fleet:
    """Three masters, and a namespace of the test's own."""

    def __init__(self, nodes: list[Node], url: str, space: str) -> None:
        self.nodes = nodes
        self.space = space
        self.url = f"{url},{','.join(f'127.0.0.1:{each.port}' for each in nodes[1:])}?namespace={space}&timeout=1"

    def slot(self, queue: str = "") -> int:
        """Return the slot of a queue, or of what belongs to none."""
        return slot_of(f"{{{self.space}:{queue}}}" if queue else f"{{{self.space}}}")

    def home(self, queue: str = "") -> Node:
        """Return its master."""
        return self.nodes[next(n for n in range(3) if self.slot(queue) < 16384 * (n + 1) // 3)]

    def queue_on(self, node: Node) -> str:
        """Return the name of a queue there."""
        return next(name for name in (f"q{n}" for n in range(100)) if self.home(name) is node)

    @asynccontextmanager
    async def store(self, *, patience: int = 1) -> AsyncIterator[RedisStore]:
        """Have a store that gives a request up after so many seconds."""
        store = store_at(self.url.replace("timeout=1", f"timeout={patience}"), clock=SystemClock())
        try:
            await store.open()
            yield store
        finally:
            await store.close()


@pytest.fixture(scope="module")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Node], str]]:
    kept: dict[str, Any] = {
        "appendonly": "yes",
        "appendfsync": "always",
        "user": user(),
    }  # what it knew before it was killed
    with cluster(tmp_path_factory.mktemp("masters"), cluster_require_full_coverage="no", **kept) as nodes:
        yield nodes, permit(nodes)


@pytest.fixture
def fleet(masters: tuple[list[Node], str], tmp_path: Path) -> Iterator[Fleet]:
    nodes, url = masters
    fleet = Fleet(nodes, url, tmp_path.name)
    yield fleet
    for each in nodes:
        with suppress(OSError):
            each.ask("PING")
            continue
        again(fleet, each)


def again(fleet: Fleet, node: Node) -> None:
    """Start a master that was killed, and return when the Cluster takes it for one of its own."""
    node.start(ready=False)
    wait_for(lambda: all(_whole(each) for each in fleet.nodes))


def _whole(node: Node) -> bool:
    return b"cluster_state:ok" in node.ask("CLUSTER", "INFO") and node.ask("CLUSTER", "NODES").count(b"connected") == 3


def now() -> float:
    return SystemClock().time()


def event(id: str) -> ExchangeEvent:
    return ExchangeEvent(id=id, exchange="orders", key="", body=Raw(b"1"), at=now())


async def claim(store: RedisStore, *queues: str, wait: float = 0.0, holder: Holder = A) -> list[Delivery]:
    return await store.claim(dict.fromkeys(queues, 100), limit=100, holder=holder, lease=10, wait=wait)


async def finish(store: RedisStore, *given: Delivery) -> None:
    assert await store.settle([Finish(each.fence, "succeeded") for each in given]) == []


async def test_queues_are_spread_over_all_masters(fleet: Fleet) -> None:
    queues = [f"q{n}" for n in range(12)]
    async with fleet.store() as store:
        await store.publish([message(f"{queue}.{n}", now(), key="k") for queue in queues for n in range(3)])
        given = await claim(store, *queues)
        assert [each.message.id for each in given[:12]] == [f"{queue}.0" for queue in sorted(queues)]
        await finish(store, *given[:12])
        assert set(await store.stats([])) == set(queues)
    found: dict[str, set[int]] = {}
    for node in fleet.nodes:
        for key in node.ask("KEYS", f"*{fleet.space}*"):
            tag = key.decode().partition("{")[2].partition("}")[0]
            found.setdefault(tag.partition(":")[2], set()).add(node.ask("CLUSTER", "KEYSLOT", key))
            assert fleet.home(tag.partition(":")[2]) is node
    assert found == {queue: {fleet.slot(queue)} for queue in ("", *queues)}
    assert {fleet.home(queue).port for queue in queues} == {node.port for node in fleet.nodes}


async def test_a_queue_with_more_to_skip_delays_no_job_of_another(fleet: Fleet) -> None:
    async with fleet.store(patience=30) as store:  # a thousand purges in one request take long on a busy machine
        await store.publish([message(f"a.{n}", now()) for n in range(12_001)])
        for start in range(0, 12_000, 1000):
            await store.apply([Purge(id=f"a.{n}") for n in range(start, start + 1000)])
        await store.publish([message("b.1", now())])
        given = await claim(store, "a", "b")
        if len(given) == 1:  # the claim of "a" had not yet passed over all that the purged jobs left
            given += await claim(store, "a", "b")
        assert {each.message.id for each in given} == {"a.12000", "b.1"}


@pytest.mark.parametrize("root_too", [False, True], ids=["a queue", "and the names"])
async def test_a_killed_master_delays_only_its_own_queues(
    fleet: Fleet, root_too: bool, caplog: pytest.LogCaptureFixture
) -> None:
    gone = next(node for node in fleet.nodes if (node is fleet.home()) is root_too)
    lost = fleet.queue_on(gone)
    one, other = (fleet.queue_on(node) for node in fleet.nodes if node is not gone)
    queues = (lost, one, other)
    async with fleet.store() as store, fleet.store() as supervisor:
        await store.publish([message(f"{queue}.before", now()) for queue in queues])
        held = await claim(store, one)
        assert await supervisor.extend(A, lease=10) == []
        await asyncio.to_thread(gone.kill)
        with caplog.at_level(logging.WARNING, "outlast.redis"):
            with pytest.raises(StoreUnavailable):
                await store.publish([message(f"{lost}.0", now())])  # it may be the one that finds the connection broken
            with pytest.raises(StoreUnavailable) as refused:
                await store.publish([message(f"{lost}.1", now())])
            assert not isinstance(refused.value, StoreUncertain), "nothing of it was kept"
            batch = [message(f"{queue}.2", now()) for queue in queues]
            with pytest.raises(StoreUncertain, match=f"those of {lost} are not kept"):
                await store.publish(batch)
            for n in range(20):
                await store.publish([message(f"{one}.n{n}", now()), message(f"{other}.n{n}", now())])
                given = await claim(store, *queues)
                assert {f"{one}.n{n}", f"{other}.n{n}"} <= {each.message.id for each in given}
                await finish(store, *given)
            with pytest.raises(StoreUnavailable):
                await claim(store, lost)
        assert 1 <= sum(f"{lost!r} is unavailable" in line for line in caplog.messages) <= 2, "by each store once"
        with pytest.raises(StoreUnavailable):
            await supervisor.extend(A, lease=60)
        await finish(store, *held)
        async with fleet.store() as fresh:
            assert await fresh.publish([message(f"{one}.fresh", now())]) == [ACCEPTED]
            assert [each.message.id for each in await claim(fresh, lost, one)] == [f"{one}.fresh"]
        waiting = asyncio.create_task(claim(store, lost, other, wait=60))
        await asyncio.to_thread(again, fleet, gone)
        given = await waiting
        assert [each.message.id for each in given] == [f"{lost}.before"]
        await finish(store, *given)
        answers = await store.publish(batch)
        assert [type(each) for each in answers] == [type(ACCEPTED), Exists, Exists]
        assert await insist(partial(supervisor.extend, A, lease=10)) == []


async def test_a_worker_continues_and_starts_with_the_queues_of_the_other_masters(fleet: Fleet) -> None:
    gone = fleet.home()
    lost, other = fleet.queue_on(gone), fleet.queue_on(next(node for node in fleet.nodes if node is not gone))
    app, fresh = new_app(fleet.url), new_app(fleet.url)
    begun, go = asyncio.Event(), asyncio.Event()

    @app.job(queue=lost)
    async def hold() -> None:
        begun.set()
        await go.wait()

    @app.job(queue=other)
    async def noop(n: int) -> int:
        return n

    @fresh.job(queue=other)
    async def late() -> str:
        return "late"

    async with app, fresh, working(app, concurrency=8):
        held = await hold.enqueue()
        await begun.wait()
        await asyncio.to_thread(gone.kill)
        go.set()
        for n in range(40):
            job = await noop.enqueue(n)
            assert await job.result(timeout=30) == n
        async with working(fresh):
            assert await (await late.enqueue()).result(timeout=30) == "late"
        await asyncio.to_thread(again, fleet, gone)
        assert (await record(app, held)).state == "succeeded"


async def test_a_claim_of_a_stopped_master_is_undone(fleet: Fleet) -> None:
    silent = fleet.nodes[1]
    lost, other = fleet.queue_on(silent), fleet.queue_on(fleet.nodes[2])
    async with fleet.store() as store:
        await store.publish([message(f"{queue}.0", now()) for queue in (lost, other)])
        await finish(store, *await claim(store, other))
        silent.signal(signal.SIGSTOP)
        try:
            for n in range(10):
                await store.publish([message(f"{other}.n{n}", now())])
                given = await claim(store, lost, other)
                assert [each.message.id for each in given] == [f"{other}.n{n}"]
                await finish(store, *given)
        finally:
            silent.signal(signal.SIGCONT)
        (given_back,) = await until(lambda: claim(store, lost, other, holder=B), "it is ready again")
        assert (given_back.message.id, given_back.attempt, given_back.crashes) == (f"{lost}.0", 1, 0)


async def test_a_cancelled_claim_over_masters_hands_out_no_job(fleet: Fleet) -> None:
    silent = fleet.nodes[1]
    lost, other = fleet.queue_on(silent), fleet.queue_on(fleet.nodes[2])
    async with fleet.store() as store, fleet.store() as looking:
        await store.publish([message(f"{queue}.0", now()) for queue in (lost, other)])
        silent.signal(signal.SIGSTOP)
        try:
            claiming = asyncio.create_task(claim(store, lost, other))

            async def handed_out() -> bool:
                return (await looking.stats([other]))[other].running == 1

            await until(handed_out, "one queue has given its job")
            claiming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await claiming
        finally:
            silent.signal(signal.SIGCONT)
        got: list[str] = []

        async def both() -> bool:
            got.extend(each.message.id for each in await claim(looking, lost, other, holder=B))
            return len(got) == 2

        await until(both, "both are ready again")
        assert sorted(got) == sorted([f"{lost}.0", f"{other}.0"])


@pytest.mark.parametrize("root_too", [False, True], ids=["a queue", "and the names"])
async def test_queues_of_a_flushed_master_are_declared_again(
    fleet: Fleet, root_too: bool, caplog: pytest.LogCaptureFixture
) -> None:
    emptied = next(node for node in fleet.nodes if (node is fleet.home()) is root_too)
    lost = fleet.queue_on(emptied)
    other = fleet.queue_on(next(node for node in fleet.nodes if node is not emptied))
    async with fleet.store() as store:
        await store.declare(Topology((Queue(name=lost, max_depth=1), Queue(name=other, max_depth=1))))
        await store.publish([message(f"{lost}.0", now()), message(f"{other}.0", now())])
        emptied.ask("FLUSHALL")
        with caplog.at_level(logging.ERROR, "outlast.redis"):
            kept, kept_out = await store.publish([message(f"{lost}.1", now()), message(f"{lost}.2", now())])
            assert (kept, type(kept_out)) == (ACCEPTED, Full)
            found = await store.stats([])
        assert any("was flushed" in line for line in caplog.messages)
        assert {name: each.depth for name, each in found.items()} == {lost: 1, other: 1}
    async with fleet.store() as fresh:
        assert set(await fresh.stats([])) == {lost, other}


@pytest.mark.parametrize("root_too", [False, True], ids=["a queue", "and the bindings"])
async def test_an_event_reaches_the_queues_of_a_flushed_master(fleet: Fleet, root_too: bool) -> None:
    emptied = next(node for node in fleet.nodes if (node is fleet.home()) is root_too)
    names = sorted((fleet.queue_on(emptied), fleet.queue_on(next(each for each in fleet.nodes if each is not emptied))))
    bindings = tuple(Binding(exchange="orders", queue=name, kind="send", parameter="n") for name in names)
    topology = Topology(tuple(Queue(name=name) for name in names), "shop", exchanges=(ORDERS,), bindings=bindings)
    async with fleet.store() as store:
        await store.declare(topology)
        assert [copy.queue for copy in (await store.publish_events([event("1")]))[0].copies] == names
        emptied.ask("FLUSHALL")
        (routed,) = await store.publish_events([event("1")])
        fresh = {copy.queue for copy in routed.copies if copy.answer == ACCEPTED}
        assert fresh == {name for name in names if fleet.home(name) is emptied}
        assert (await store.bindings()).bindings == bindings


async def test_an_app_with_bindings_opens_while_their_master_is_away(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    gone = fleet.home()
    one = fleet.queue_on(next(node for node in fleet.nodes if node is not gone))
    binding = Binding(exchange="orders", queue=one, kind="send", parameter="n")
    topology = Topology((Queue(name=one),), "shop", exchanges=(ORDERS,), bindings=(binding,))
    async with fleet.store() as first:
        await first.publish([message(f"{one}.before", now())])
    await asyncio.to_thread(gone.kill)
    async with fleet.store() as store:
        try:
            with caplog.at_level(logging.WARNING, "outlast.redis"):
                await store.declare(topology)
                assert await store.publish([message(f"{one}.1", now())]) == [ACCEPTED]
                with pytest.raises(StoreUnavailable):
                    await store.publish_events([event("1")])
            told = "the list of queues, the schedules and the bindings of exchanges are unavailable"
            assert sum(told in line for line in caplog.messages) == 1
        finally:
            await asyncio.to_thread(again, fleet, gone)
        async with fleet.store() as other:

            async def bound() -> bool:
                with suppress(StoreUnavailable):
                    return (await other.bindings()).bindings == (binding,)
                return False

            await until(bound, "the bindings are declared, without a call of the process")
        (routed,) = await store.publish_events([event("1")])
        assert [copy.queue for copy in routed.copies] == [one]


async def test_an_event_is_completed_when_a_master_is_back(fleet: Fleet) -> None:
    killed = next(node for node in fleet.nodes if node is not fleet.home())
    names = sorted((fleet.queue_on(killed), fleet.queue_on(fleet.home())))
    bindings = tuple(Binding(exchange="orders", queue=name, kind="send", parameter="n") for name in names)
    topology = Topology(tuple(Queue(name=name) for name in names), "shop", exchanges=(ORDERS,), bindings=bindings)
    async with fleet.store() as store:
        await store.declare(topology)
        await asyncio.to_thread(killed.kill)
        try:
            with pytest.raises(StoreUncertain, match="of this call those of"):
                await store.publish_events([event("1")])
        finally:
            await asyncio.to_thread(killed.start)
        answers: list[Any] = []

        async def published() -> bool:
            with suppress(StoreUnavailable):
                answers[:] = [copy.answer for copy in (await store.publish_events([event("1")]))[0].copies]
            return bool(answers)

        await until(published, "the event is published")
        assert {type(each) for each in answers} == {Exists, type(ACCEPTED)}
        assert {name: each.depth for name, each in (await store.stats(names)).items()} == dict.fromkeys(names, 1)


@pytest.mark.parametrize("where", ["before", "between"])
async def test_follow_ups_survive_a_crash_of_their_relay_and_arrive_once(fleet: Fleet, where: str) -> None:
    async with fleet.store() as store:
        await store.publish([message(f"from.{n}", now()) for n in range(5)])
        died = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "tests.faults.redis.dying_relay", fleet.url, where],
            cwd=ROOT,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL
        assert await store.count(Query(queue="from")) == {"succeeded": 5}
        expected = {each.id for n in range(5) for each in follow_ups(f"from.{n}", now())}
        got: list[str] = []

        async def all_of_them() -> bool:
            await store.extend(B, lease=10)  # as any supervisor does, whatever its workers claim
            given = await claim(store, *FOLLOWERS)
            got.extend(each.message.id for each in given)
            await finish(store, *given)
            return len(got) >= len(expected)

        await until(all_of_them, "every follow-up has arrived")
        home = fleet.home("from")
        await until(lambda: home.ask("EXISTS", f"{{{fleet.space}:from}}::out") == 0, "nothing is kept back")
        assert await claim(store, *FOLLOWERS) == []
    assert Counter(got) == Counter(expected)


async def test_a_follow_up_of_an_unavailable_queue_delays_no_other(fleet: Fleet) -> None:
    gone = fleet.nodes[2]
    lost, source, other = fleet.queue_on(gone), fleet.queue_on(fleet.nodes[0]), fleet.queue_on(fleet.nodes[1])
    async with fleet.store() as store:
        await store.publish([message(f"{source}.1", now())])
        await store.enlist([ScheduleEntry(name="s", app="a", kind="k", queue=lost, spec=Spec(every=60), version="1")])
        (given,) = await claim(store, source)
        await asyncio.to_thread(gone.kill)
        then = [message(f"{queue}.{n}", now()) for n in range(150) for queue in (lost, other)]
        assert await store.settle([Finish(given.fence, "succeeded", then=then)]) == []
        assert len(await claim(store, other, lost)) == 100
        assert await store.settle([Finish(given.fence, "succeeded", then=then)]) == [], "repeating it adds nothing"
        await asyncio.to_thread(again, fleet, gone)
        seen: list[str] = []

        async def all_of_them() -> bool:
            seen.extend(each.message.id for each in await claim(store, lost, other))
            return len(seen) == 200

        await until(all_of_them, "what waited has come")
        assert [each for each in seen if each.startswith(f"{lost}.")] == [f"{lost}.{n}" for n in range(150)]


async def test_a_taken_tick_is_published_when_its_queue_is_available_again(fleet: Fleet) -> None:
    gone = next(node for node in fleet.nodes if node is not fleet.home())
    lost, other = fleet.queue_on(gone), fleet.queue_on(next(n for n in fleet.nodes if n is not gone))
    async with fleet.store() as store:
        (entry,) = await store.enlist(
            [ScheduleEntry(name="s", app="a", kind="k", queue=lost, spec=Spec(every=60), version="1")]
        )
        await asyncio.to_thread(gone.kill)
        tick = ScheduleAdvance(
            name="s", expect=entry.revision, upto=entry.upto + 60, messages=(message(f"{lost}.tick", now()),)
        )
        assert await store.advance([tick]) == [True]
        assert await store.advance([tick]) == [False]
        await asyncio.to_thread(again, fleet, gone)

        async def came() -> list[Delivery]:
            return await claim(store, other, lost)

        (given,) = await until(came, "the tick has come")
        assert given.message.id == f"{lost}.tick"
        (after,) = await store.schedules()
        assert (after.fired, after.last) == (1, f"{lost}.tick")


def move_slot(slot: int, nodes: list[Node], old: Node, new: Node) -> None:
    """Move a slot as redis-cli --cluster reshard does: a few keys at a time, and the name last."""
    ids = {each: each.ask("CLUSTER", "MYID").decode() for each in (old, new)}
    new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[old])
    old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[new])
    while keys := old.ask("CLUSTER", "GETKEYSINSLOT", slot, 3):
        old.ask("MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS", *keys)
    for each in (new, old, *nodes):
        each.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[new])


def _more(ran: Counter[str], than: int) -> bool:
    return ran.total() >= than


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Ask until the Cluster answers."""
    while True:
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(0)


async def test_a_slot_moves_while_jobs_run(fleet: Fleet) -> None:
    queues = [fleet.queue_on(node) for node in fleet.nodes]
    ran: Counter[str] = Counter()
    wanted = 400
    async with fleet.store() as publisher, fleet.store() as worker:

        async def publish() -> None:
            for n in range(wanted):
                batch = [message(f"{queue}.{n}", now()) for queue in queues]
                await insist(partial(publisher.publish, batch))

        async def work() -> None:
            while ran.total() < wanted * len(queues):
                given = await insist(partial(claim, worker, *queues, wait=1))
                ran.update(each.message.id for each in given)
                assert await insist(partial(worker.settle, [Finish(each.fence, "succeeded") for each in given])) == []

        running = asyncio.gather(publish(), work())
        slot, (first, second) = fleet.slot(queues[0]), fleet.nodes[:2]
        for turn, (old, new) in enumerate(((first, second), (second, first)) * 2):
            await until(partial(_more, ran, 200 * turn), "jobs run")
            await asyncio.to_thread(move_slot, slot, fleet.nodes, old, new)
        await running
        counts = await publisher.count(Query())
    assert ran == Counter(f"{queue}.{n}" for queue in queues for n in range(wanted))
    assert counts == {"succeeded": wanted * len(queues)}
