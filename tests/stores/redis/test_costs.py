"""What the Redis store costs: bytes of a waiting job, who is woken by one, what is left when all is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import msgspec
import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.redis import records, store_base
from outlast.brokers.redis.keyspace import Keyspace
from outlast.brokers.redis.store import RedisStore, store_at
from outlast.core.ids import IdFactory
from outlast.core.limits import Limit
from outlast.core.message import Holder, Message
from outlast.core.settlement import ACCEPTED, Finish
from outlast.core.store.control import Adjust, Purge
from outlast.core.store.records import Query
from outlast.core.topology import Queue, Topology
from tests.support.jobs import A, B, message, raw
from tests.support.servers.redis_server import RedisServer

JOBS = 20_000


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    store = store_at(server.url, clock=SystemClock())
    await store.open()
    yield store
    await store.close()


async def info(store: RedisStore, section: str) -> dict[str, str]:
    text = (await store._client.command("INFO", section)).decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def test_a_small_waiting_job_is_300_bytes_at_most(store: RedisStore) -> None:
    ids, now = IdFactory(), SystemClock().time()
    args = raw({"user_id": 123_456, "email": "somebody@example.com"})
    jobs = [
        Message(id=ids.new("mail", now, uuid4().int), queue="mail", kind="send", args=args, enqueued_at=now, run_at=now)
        for _ in range(JOBS)
    ]
    before = int((await info(store, "memory"))["used_memory"])
    assert await store.publish(jobs) == [ACCEPTED] * JOBS
    assert (int((await info(store, "memory"))["used_memory"]) - before) / JOBS <= 300


async def test_one_job_wakes_one_of_those_who_wait(server: RedisServer, store: RedisStore) -> None:
    others = [store_at(server.url, clock=SystemClock()) for _ in range(3)]
    for other in others:
        await other.open()
    waiting = [
        asyncio.create_task(each.claim({"q": 1}, limit=1, holder=holder, lease=10, wait=60))
        for each, holder in zip([store, *others], (A, B, A, B), strict=True)
    ]
    while int(await store._client.command("SCARD", "{outlast:q}:w")) < len(waiting):
        await asyncio.sleep(0)
    await store.publish([message("q.1", SystemClock().time())])
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [[each.message.id for each in task.result()] for task in done] == [["q.1"]]
    assert (await info(store, "commandstats"))["cmdstat_publish"].startswith("calls=1,")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for other in others:
        await other.close()


async def test_a_queue_with_demand_0_is_not_read_and_not_written(store: RedisStore) -> None:
    command = store._client.command
    # The server then counts each access to a key.
    for name, value in (("maxmemory-policy", "allkeys-lfu"), ("lfu-log-factor", "0"), ("lfu-decay-time", "0")):
        await command("CONFIG", "SET", name, value)
    now = SystemClock().time()
    await store.publish([message("q.1", now, delay=-5), message("q.2", now, delay=5), message("r.1", now, delay=3600)])

    async def accesses() -> dict[bytes, int]:
        return {key: int(await command("OBJECT", "FREQ", key)) for key in await command("KEYS", "{outlast:q}*")}

    before = await accesses()
    claim = asyncio.create_task(store.claim({"r": 1, "q": 0}, limit=1, holder=A, lease=60, wait=60))
    while not await command("EXISTS", "{outlast:r}:w"):
        await asyncio.sleep(0)
    assert await accesses() == before
    claim.cancel()
    await asyncio.wait([claim])


async def test_a_claim_stops_waiting_for_a_queue_whose_demand_falls_to_0(store: RedisStore) -> None:
    for most in (1, 0):
        claim = asyncio.create_task(store.claim({"r": 1, "q": most}, limit=1, holder=A, lease=60, wait=60))
        while int(await store._client.command("SCARD", "{outlast:q}:w")) != most:
            await asyncio.sleep(0)
        claim.cancel()
        await asyncio.wait([claim])


async def test_nothing_but_ids_and_counts_is_left_of_what_was_purged(store: RedisStore) -> None:
    now = SystemClock().time()
    keyed = [message(f"q.{n}", now, key=f"key-{n % 7}", unique=f"u-{n}", delay=n % 2) for n in range(2000)]
    await store.publish([*keyed, *(message(f"q.plain-{n}", now) for n in range(2000))])
    given = await store.claim({"q": 500}, limit=500, holder=A, lease=10, wait=0)
    await store.settle([Finish(each.fence, "succeeded", result=raw(1)) for each in given])
    await store.apply([Purge(queue="q")])
    assert await store.count(Query()) == {}
    assert await store.claim({"q": 5000}, limit=5000, holder=A, lease=10, wait=0) == []
    keys = {key.decode().rpartition("}:")[2] for key in await store._client.command("KEYS", "{outlast:q}*")}
    assert keys <= {"c", "p", "pl", "k", "ring", "t"}


async def test_what_many_that_are_gone_have_left_in_line_is_passed_by_in_pieces(store: RedisStore) -> None:
    now = SystemClock().time()
    await store.publish([message(f"q.{n}", now) for n in range(12_001)])
    for start in range(0, 12_000, 1000):
        await store.apply([Purge(id=f"q.{n}") for n in range(start, start + 1000)])
    given = await store.claim({"q": 1}, limit=1, holder=A, lease=10, wait=0)
    assert [each.message.id for each in given] == ["q.12000"]


KEYS = 1700
"""More than one step looks at."""


async def given(store: RedisStore) -> int:
    """Hand out all that may run, and return how many."""
    count = 0
    while some := await store.claim({"q": 500}, limit=500, holder=A, lease=60, wait=0):
        count += len(some)
    return count


async def parked(store: RedisStore) -> int:
    return int(await store._client.command("ZCARD", "{outlast:q}:park"))


async def two_for_each_key(store: RedisStore, limit: Limit) -> None:
    """Have two jobs of each key there, one of them running and its key parked."""
    await store.declare(Topology((Queue(name="q", per_key=limit),), app="x"))
    now = SystemClock().time()
    await store.publish([message(f"q.{key}-{n}", now, key=f"k{key}") for n in range(2) for key in range(KEYS)])
    assert await given(store) == KEYS
    assert await parked(store) == KEYS


async def test_a_raised_limit_frees_thousands_of_parked_keys_in_steps(store: RedisStore) -> None:
    await two_for_each_key(store, Limit(concurrency=1))
    await store.apply([Adjust("q", {"per_key.concurrency": 2})])
    assert await parked(store) == 0
    assert await given(store) == KEYS


async def test_steps_that_were_left_undone_are_done_at_the_next_declaration(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(name="q", per_key=Limit(concurrency=1))
    await two_for_each_key(store, queue.per_key)

    async def dies(keyspace: Keyspace, queue: str) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(Keyspace, "relook", dies)
        with pytest.raises(asyncio.CancelledError):
            await store.apply([Adjust("q", {"per_key.concurrency": 2})])
    assert 0 < await parked(store) < KEYS
    await store.declare(Topology((queue,), app="x"))
    assert await parked(store) == 0
    assert await given(store) == KEYS


async def test_thousands_of_keys_whose_time_has_come_join_a_thousand_a_claim(server: RedisServer) -> None:
    at = [SystemClock().time() + 60]
    store = store_at(server.url, clock=SystemClock(), now=lambda: at[0])
    await store.open()
    await two_for_each_key(store, Limit(rate="1/s"))
    at[0] += 5
    assert len(await store.claim({"q": 1}, limit=1, holder=A, lease=60, wait=0)) == 1
    assert await parked(store) == KEYS - 1000
    assert await given(store) == KEYS - 1
    await store.close()


async def test_a_search_looks_at_so_many_jobs_a_call_and_says_where_it_goes_on(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LOOKS", 2)
    now = SystemClock().time()
    rare = (10, 700, 4_100, 4_900)
    await store.publish([message(f"q.{n}", now, key="rare" if n in rare else "often") for n in range(5_000)])
    query, found = Query(key="rare", limit=3), list[list[str]]()
    while True:
        page = await store.find(query)
        found.append([each.id for each in page.records])
        if page.cursor is None:
            break
        query = msgspec.structs.replace(query, cursor=page.cursor)
    assert found == [["q.4900", "q.4100"], [], ["q.700", "q.10"]]


async def test_a_job_wakes_who_still_listens(
    server: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_base, "POLL", 3600.0)
    gone, other = store_at(server.url, clock=SystemClock()), store_at(server.url, clock=SystemClock())
    await gone.open()
    await other.open()
    waiting = [asyncio.create_task(gone.claim({"q": 1}, limit=1, holder=B, lease=10, wait=60)) for _ in range(12)]
    while int(await store._client.command("SCARD", "{outlast:q}:w")) < len(waiting):
        await asyncio.sleep(0)
    await gone.close()
    await asyncio.gather(*waiting, return_exceptions=True)
    still = asyncio.create_task(store.claim({"q": 1}, limit=1, holder=A, lease=10, wait=3600))
    while int(await store._client.command("SCARD", "{outlast:q}:w")) <= len(waiting):
        await asyncio.sleep(0)
    await other.publish([message("q.1", SystemClock().time())])
    async with asyncio.timeout(60):
        assert [each.message.id for each in await still] == ["q.1"]
    await other.close()


async def test_nothing_is_left_of_holders_that_are_long_gone(server: RedisServer) -> None:
    at = [SystemClock().time()]
    store = store_at(server.url, clock=SystemClock(), now=lambda: at[0])
    await store.open()
    await store.publish([message(f"q.{n}", at[0]) for n in range(20)])
    for number in range(20):
        holder = Holder(f"{number:032}")
        (job,) = await store.claim({"q": 1}, limit=1, holder=holder, lease=10, wait=0)
        await store.settle([Finish(job.fence, "succeeded")])
    for passed, holder in ((11, A), (3601, B), (11, A)):
        at[0] += passed
        await store.claim({"q": 1}, limit=1, holder=holder, lease=10, wait=0)
    for key, left in (("leases", "ZCARD"), ("gone", "ZCARD"), ("asked", "HLEN")):
        assert int(await store._client.command(left, f"{{outlast}}:{key}")) <= 2, key
    await store.close()
