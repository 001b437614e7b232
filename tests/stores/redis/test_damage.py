"""Values on the server that Outlast did not write: they stop only their own job or queue."""

from __future__ import annotations

import asyncio
import logging
import math
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import msgpack, structs

from outlast.brokers.redis.cluster_store import ClusterStore
from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.errors import ConfigurationError, StoreCorrupt
from outlast.core.guards.record import commanded
from outlast.core.message import Usage
from outlast.core.policy import DEFAULTS
from outlast.core.schedule import ScheduleAdvance, ScheduleEntry, Spec
from outlast.core.settlement import Accepted, Exists, Finish, Note, Park, Reschedule
from outlast.core.store.control import Edit, Prune, Purge, Redrive
from outlast.core.store.records import Query
from outlast.core.store.store import CompleteStore
from outlast.core.topology import Queue, Topology
from outlast.core.unique import Unique
from outlast.testing.clock import FakeClock
from tests.faults.proofs.damage import RedisVandal, damage
from tests.support.binding_damage import BAD, is_declared_again
from tests.support.guard_damage import begins_again
from tests.support.jobs import LEASE, A, B, Desk, failure, message, raw
from tests.support.schedule_damage import stands_alone
from tests.support.stores import CASES, namespace_of, redis_url

CASE = next(case for case in CASES if case.name == "redis")
CLUSTER = next(case for case in CASES if case.name == "cluster")


@pytest.fixture
async def client() -> AsyncIterator[RedisClient]:
    """A connection of another program."""
    client = RedisClient(Address.of(redis_url()))
    await client.open()
    yield client
    await client.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FakeClock()
    store = CASE.make(tmp_path, clock, DEFAULTS.max_body)
    await store.open()
    yield Desk(store, clock)
    await store.close()


async def test_random_damage_stops_no_other_job(client: RedisClient, tmp_path: Path) -> None:
    def make(place: Path, clock: FakeClock) -> CompleteStore:
        return CASE.make(place, clock, DEFAULTS.max_body)

    report = await damage(make, RedisVandal(client, namespace_of), tmp_path, rounds=60, seconds=60, seed=1)
    assert (report.rounds > 0, report.faults) == (True, {})


@pytest.mark.parametrize("record", [b"", b"x", b"\xff" * 60, b"\0" * 33])
@pytest.mark.parametrize("key", [None, "a"])
async def test_a_claim_sets_it_aside_and_hands_out_the_others(
    desk: Desk, client: RedisClient, tmp_path: Path, record: bytes, key: str | None
) -> None:
    await desk.publish("q.1", "q.bad", "q.2", key=key)
    await client.command("HSET", f"{{{namespace_of(tmp_path)}:q}}:b", "bad", record)
    shown = await desk.store.find(Query(queue="q"))
    assert sorted(each.id for each in shown.records) == ["q.1", "q.2", "q.bad"]
    assert await desk.ids() == ["q.1", "q.2"]
    bad = await desk.record("q.bad")
    assert (bad.state, bad.reason, [each.type for each in bad.failures]) == ("dead", "unreadable", ["Unreadable"])
    stats = await desk.stats()
    assert (stats.depth, stats.ready, stats.running, stats.dead) == (2, 0, 2, 1)
    assert (await desk.do(Purge(id="q.bad"))).ok
    assert await desk.state("q.bad") == "unknown"


async def test_a_kind_that_is_no_text_is_set_aside_by_the_worker(
    desk: Desk, client: RedisClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.publish("q.1", "q.bad")
    key = f"{{{namespace_of(tmp_path)}:q}}:b"
    record = await client.command("HGET", key, "bad")
    await client.command("HSET", key, "bad", record.replace(b"send", b"\xff\xffnd"))
    with caplog.at_level(logging.ERROR, "outlast.redis"):
        assert await desk.ids() == ["q.1"]
    assert "job q.bad cannot be read" in caplog.text
    stats = await desk.stats()
    assert (stats.depth, stats.running, stats.dead) == (1, 1, 1)


async def test_a_job_that_cannot_be_set_aside_now_holds_up_no_other_job(
    desk: Desk, client: RedisClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.publish("q.1", "q.bad", "r.1")
    stem = f"{{{namespace_of(tmp_path)}:q}}"
    record = await client.command("HGET", f"{stem}:b", "bad")
    await client.command("HSET", f"{stem}:b", "bad", record.replace(b"send", b"\xff\xffnd"))
    await client.command("SET", f"{stem}:dead", "another program's")
    assert sorted(await desk.ids("q", "r")) == ["q.1", "r.1"]
    assert await desk.state("q.bad") == "running"
    await client.command("DEL", f"{stem}:dead")
    assert await desk.ids("r") == []
    assert await desk.state("q.bad") == "dead"
    assert (await desk.stats()).depth == 1


DAMAGED = [b"", b"garbage", b"\xc0", b"\x05", b"\xa3abc", b"\x93\x01\x02\x03"]


@pytest.mark.parametrize("value", DAMAGED)
@pytest.mark.parametrize("name", ["f", "n"])
async def test_damaged_failures_and_notes_stop_no_settlement(
    desk: Desk, client: RedisClient, tmp_path: Path, name: str, value: bytes
) -> None:
    async def spoil() -> None:
        await client.command("HSET", f"{{{namespace_of(tmp_path)}:q}}:{name}", "1", value)

    await desk.publish("q.1", "q.2")
    await desk.claim()
    await spoil()
    notes = [Note(desk.fence(id_), "progress", raw(3)) for id_ in ("q.1", "q.2")]
    assert await desk.store.save(notes) == []
    await spoil()
    again = [Reschedule(desk.fence(id_), desk.clock.time(), 2, failure()) for id_ in ("q.1", "q.2")]
    assert await desk.settle(*again) == []
    assert await desk.ids() == ["q.1", "q.2"]
    await spoil()
    assert await desk.finish("q.1", "q.2", state="dead", error=failure(2), usage=Usage(1.0, 2.0)) == []
    assert (await desk.record("q.1")).failures[-1] == failure(2)
    await spoil()
    assert (await desk.do(Redrive("q.1"))).ok


@pytest.mark.parametrize("value", DAMAGED)
async def test_a_damaged_entry_of_a_removed_id_forgets_only_that_id(
    desk: Desk, client: RedisClient, tmp_path: Path, value: bytes
) -> None:
    await desk.run("q.1", "q.2")
    for options in ({}, {"unique": "k"}):
        assert (await desk.do(Purge(id="q.1"))).ok
        await client.command("HSET", f"{{{namespace_of(tmp_path)}:q}}:p", "1", value)
        assert [type(each) for each in await desk.publish("q.1", "q.2", **options)] == [Accepted, Exists]
    assert (await desk.do(Purge(id="q.1"))).ok
    await client.command("HSET", f"{{{namespace_of(tmp_path)}:q}}:p", "1", value)
    desk.clock.advance(90 * 86400)
    assert (await desk.do(Prune())).ok


@pytest.mark.parametrize("value", DAMAGED)
async def test_a_damaged_unique_key_is_free(desk: Desk, client: RedisClient, tmp_path: Path, value: bytes) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim()
    await desk.publish("q.2", unique=Unique("k", replace=True))
    await desk.publish("q.3")
    await client.command("HSET", f"{{{namespace_of(tmp_path)}:q}}:u", "k", value)
    assert sorted(await desk.ids()) in (["q.2", "q.3"], ["q.3"])
    await desk.finish("q.1")
    await desk.claim()
    assert await desk.state("q.2") == "running"


@pytest.mark.parametrize("value", [*DAMAGED, b"1", b"other"])
@pytest.mark.parametrize("again", ["", "q.3", "q.4"])
async def test_a_damaged_entry_of_a_successor_keeps_it_from_nothing(
    desk: Desk, client: RedisClient, tmp_path: Path, value: bytes, again: str
) -> None:
    """Not even if another job is enqueued for the key before its holder ends: with replace it is the successor then."""
    await desk.publish("q.1", unique="k")
    await desk.publish("q.other", delay=1e6, unique="other")
    await desk.claim()
    await desk.publish("q.2", unique=Unique("k", replace=True))
    await client.command("HSET", f"{{{namespace_of(tmp_path)}:q}}:un", "k", value)
    if again:
        await desk.publish(again, unique=Unique("k", replace=again == "q.4"))
    await desk.finish("q.1")
    assert await desk.ids() == ["q.4" if again == "q.4" else "q.2"]
    assert await desk.state("q.2") == ("cancelled" if again == "q.4" else "running")
    stats = await desk.stats()
    assert (stats.depth, stats.successors) == (2, 0)


async def test_jobs_that_were_taken_before_a_damaged_key_was_met_are_handed_out(
    desk: Desk, client: RedisClient, tmp_path: Path
) -> None:
    """Else their worker would hold them without ever running them, as long as it lives."""
    await desk.publish("q.1", key="a")
    await desk.publish("q.2", key="b")
    await desk.publish("r.1")
    key = f"{{{namespace_of(tmp_path)}:q}}:r:b"
    await client.command("DEL", key)
    await client.command("SET", key, "another program's")
    assert sorted(await desk.ids("q", "r")) == ["q.1", "r.1"]
    assert await desk.finish("q.1", "r.1") == []


@pytest.mark.parametrize("queues", [["q"], ["q", "r"]])
@pytest.mark.parametrize("key", [None, "a"])
async def test_no_job_is_lost_by_a_damaged_set_of_a_worker(
    desk: Desk, client: RedisClient, tmp_path: Path, queues: list[str], key: str | None
) -> None:
    await desk.publish("q.1", "q.2", key=key)
    held = f"{{{namespace_of(tmp_path)}:q}}:h:{A.id}"
    await client.command("SET", held, "another program's")
    assert await desk.claim(*queues, holder=A) == []
    assert await desk.ids("q", holder=B) == ["q.1", "q.2"]


@pytest.mark.parametrize("queues", [["q"], ["q", "r"]])
async def test_no_job_is_lost_by_a_damaged_set_of_waiting_claims(
    desk: Desk, client: RedisClient, tmp_path: Path, queues: list[str]
) -> None:
    await desk.publish("q.later", delay=5)
    assert await desk.claim(*queues, wait=0.01) == []
    waiters = f"{{{namespace_of(tmp_path)}:q}}:w"
    await client.command("DEL", waiters)
    await client.command("SET", waiters, "another program's")
    desk.clock.advance(5)
    assert await desk.ids(*queues, wait=0.01) == ["q.later"]


@pytest.mark.parametrize("name", ["b", "d", "c", "k", "due", "r", "ended", "ring", "un", "t", f"h:{A.id}"])
async def test_a_key_of_a_wrong_type_is_named_and_stops_only_its_queue(
    desk: Desk, client: RedisClient, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.publish("q.1", "q.2", "r.1")
    await desk.publish("r.later", delay=1, key="a")
    await desk.claim(limit=1)
    key = f"{{{namespace_of(tmp_path)}:q}}:{name}"
    await client.command("DEL", key)
    await client.command("SET", key, "another program's")
    desk.clock.advance(2)
    assert set(await desk.ids("q", "r")) >= {"r.1", "r.later"}
    assert await desk.finish("r.1", "r.later") == []
    assert await desk.extend(A) == []
    if name not in ("ended", "ring", "un", f"h:{A.id}"):  # no claim reads these
        with pytest.raises(StoreCorrupt, match=f"the key .*:q}}:{name} does not hold a "):
            await desk.store.stats(["q"])
            await desk.publish("q.3")
            await desk.store.find(Query(queue="q"))
            await desk.claim("q")
            await desk.publish("q.later", delay=1, key="a")
            await desk.store.totals(["q"])
    assert "r" in await desk.store.stats(["q", "r"])
    assert (await desk.store.totals())["r", "other", "succeeded"] == 2
    assert len((await desk.store.find(Query())).records) >= 2
    desk.clock.advance(60)
    assert await desk.claim("r") == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\x96\x01",
        b"\x95\x01\x01\x01\x01\xa0",
        b"\x96\xa1x\x01\x00\x00\xa0\xa0",
        b"\x96\x01\x01\x00\x00\xa0\xa1{",
        b"another's",
    ],
)
async def test_a_schedule_that_cannot_be_read_stands_alone(
    desk: Desk, client: RedisClient, tmp_path: Path, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"{{{namespace_of(tmp_path)}}}:sched"

    async def spoil() -> None:
        value = await client.command("HGET", key, "a") if body == b"another's" else body
        await client.command("HSET", key, "bad", value)

    await stands_alone(desk, spoil)
    assert sum("'bad' cannot be read" in line for line in caplog.messages) == 2, "once for each time it was spoilt"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[]", b'{"name":"bad"}', b'{"name":"bad","revision":-1}', b"another's"]
)
async def test_a_guard_whose_state_cannot_be_read_begins_again(
    desk: Desk, client: RedisClient, tmp_path: Path, body: bytes
) -> None:
    key = f"{{{namespace_of(tmp_path)}}}:guards"

    async def spoil() -> None:
        value = await client.command("HGET", key, "a") if body == b"another's" else body
        await client.command("HSET", key, "bad", value)
        await client.command("SET", f"{key[:-7]}:swaps", "many")

    await begins_again(desk, spoil)


async def test_jobs_end_where_the_key_of_totals_has_a_wrong_type(
    desk: Desk, client: RedisClient, tmp_path: Path
) -> None:
    key = f"{{{namespace_of(tmp_path)}:q}}:t"
    await client.command("SET", key, "another program's")
    await desk.publish("q.1", "q.2", "r.1")
    assert len(await desk.ids("q", "r")) == 3
    await desk.finish("q.1", "r.1")
    assert (await desk.state("q.1"), (await desk.stats()).depth, await desk.state("r.1")) == (
        "succeeded",
        1,
        "succeeded",
    )
    await client.command("DEL", key)
    assert await desk.finish("q.2") == []
    found = await desk.store.totals()
    assert (found["q", "other", "succeeded"], found["r", "other", "succeeded"]) == (1, 1)


@pytest.mark.parametrize("value", [b"", b"many", b"-5", b"1.5", b"9" * 30, b"\xff"])
async def test_a_total_that_is_no_number_begins_again_and_stops_nothing(
    desk: Desk, client: RedisClient, tmp_path: Path, value: bytes
) -> None:
    key = f"{{{namespace_of(tmp_path)}:q}}:t"
    await desk.run("q.1")
    await client.command("HSET", key, "sother", value, b"", b"5", b"x\xff", b"5", b"d\xff", b"5")
    assert (await desk.store.totals())["q", "other", "dead"] == 0
    await desk.run("q.2", "q.3")
    assert (await desk.store.totals())["q", "other", "succeeded"] == 2


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'{"exchange":"orders"}', b"another's"])
async def test_a_binding_that_cannot_be_read_stops_only_its_queue(
    desk: Desk, client: RedisClient, tmp_path: Path, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    key = f"{{{namespace_of(tmp_path)}}}:bindings"

    async def spoil() -> None:
        value = await client.command("HGET", key, f"b{BAD.replace('bad', 'a')}") if body == b"another's" else body
        assert value is not None
        await client.command("HSET", key, f"b{BAD}", value)
        await client.command("HSET", key, "", "another program's")

    await is_declared_again(desk, spoil)
    assert sum("cannot be read; start its worker to declare it" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("version", ["", "many", "-5", "1e9", "9" * 30])
async def test_a_version_of_the_bindings_that_cannot_be_read_is_replaced(
    desk: Desk, client: RedisClient, tmp_path: Path, version: str
) -> None:
    async def spoil() -> None:
        await client.command("HSET", f"{{{namespace_of(tmp_path)}}}:bindings", "version", version, f"b{BAD}", "{")

    await is_declared_again(desk, spoil)
    assert (await desk.store.bindings()).version > 1e15


async def test_a_key_of_bindings_of_a_wrong_type_is_named(desk: Desk, client: RedisClient, tmp_path: Path) -> None:
    await client.command("SET", f"{{{namespace_of(tmp_path)}}}:bindings", "another program's")
    with pytest.raises(StoreCorrupt, match=r"the key .*:bindings does not hold a hash"):
        await desk.store.bindings()
    assert await desk.publish("q.1") == [Accepted()]


async def test_a_key_of_guards_of_a_wrong_type_is_named(desk: Desk, client: RedisClient, tmp_path: Path) -> None:
    await client.command("SET", f"{{{namespace_of(tmp_path)}}}:guards", "another program's")
    with pytest.raises(StoreCorrupt, match=r"the key .*:guards does not hold a hash"):
        await desk.store.guards()
    assert await desk.publish("q.1") == [Accepted()]


async def test_who_waits_for_guards_wakes_when_the_server_was_flushed(
    desk: Desk, client: RedisClient, tmp_path: Path
) -> None:
    view = await desk.store.guards()
    first = commanded(view.of("a"), "open", view.now)
    assert await desk.store.swap([first]) == [True]
    assert await desk.store.swap([commanded(first, "close", view.now)]) == [True]
    heard = await desk.store.guards_changed(0, 0)
    for key in ("guards", "swaps"):
        await client.command("DEL", f"{{{namespace_of(tmp_path)}}}:{key}")
    assert await desk.store.swap([first]) == [True]
    assert await desk.store.guards_changed(heard, 60) != heard


@pytest.mark.parametrize(
    ("at", "format", "value"),
    [
        (0, "c", b"x"),
        (1, "d", math.nan),
        (9, "d", math.nan),
        (9, "d", math.inf),
        (17, "I", 0),
        (40, "d", math.inf),
        (40, "d", -math.inf),
    ],
    ids=["state", "rank", "time", "no time", "attempt", "end", "end before all"],
)
async def test_a_state_with_one_wrong_value_ends_its_job_alone(
    desk: Desk, client: RedisClient, tmp_path: Path, at: int, format: str, value: object
) -> None:
    await desk.publish("q.1", "q.2", "q.3")
    await desk.claim()
    await desk.settle(*(Reschedule(desk.fence(id), desk.clock.time(), 2) for id in ("q.1", "q.2", "q.3")))
    key = f"{{{namespace_of(tmp_path)}:q}}:d"
    state = bytearray(await client.command("HGET", key, "2"))
    struct.pack_into(f">{format}", state, at, value)
    await client.command("HSET", key, "2", bytes(state))
    assert await desk.ids() == ["q.1", "q.3"]
    assert await desk.ids() == []
    bad = await desk.record("q.2")
    assert (bad.state, bad.reason) == ("dead", "unreadable")
    stats = await desk.stats()
    assert (stats.depth, stats.running, stats.ready, stats.dead) == (2, 2, 0, 1)


@pytest.mark.parametrize("value", ["text", None, math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("at", [0, 1, 3, 4, 6, 8, 11, 12])
async def test_a_key_with_one_wrong_value_gives_its_jobs(
    desk: Desk, client: RedisClient, tmp_path: Path, at: int, value: object
) -> None:
    await desk.publish("q.1", "q.2", key="ann")
    await desk.publish("q.3", key="bob")
    field = f"{{{namespace_of(tmp_path)}:q}}:k"
    lane = msgpack.decode(await client.command("HGET", field, "ann"))
    lane[at] = value
    await client.command("HSET", field, "ann", msgpack.encode(lane))
    await desk.publish("q.4", key="ann")
    assert sorted(await desk.ids()) == ["q.1", "q.2", "q.3", "q.4"]
    await desk.finish("q.1", "q.2", "q.3", "q.4")
    assert (await desk.stats()).keys == 0
    await desk.publish("q.5", key="ann")
    assert await desk.ids() == ["q.5"]


async def test_a_search_passes_by_a_page_that_is_gone(desk: Desk, client: RedisClient, tmp_path: Path) -> None:
    await desk.publish("q.1")
    await desk.publish("r.1")
    await client.command("DEL", f"{{{namespace_of(tmp_path)}:q}}:a:0")
    page = await desk.store.find(Query())
    assert [each.id for each in page.records] == ["r.1"]
    assert await desk.ids() == ["q.1"]


@pytest.fixture
async def wrong(desk: Desk, client: RedisClient, tmp_path: Path) -> None:
    """Make a key of queue bad one of a wrong type."""
    await desk.publish("bad.1")
    key = f"{{{namespace_of(tmp_path)}:bad}}:b"
    await client.command("DEL", key)
    await client.command("SET", key, "another program's")


@pytest.mark.usefixtures("wrong")
async def test_a_claim_tells_once_of_such_a_queue(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for turn in range(3):
        await desk.publish(f"q.{turn}")
        assert await desk.ids("bad", "q") == [f"q.{turn}"]
        assert await desk.ids("bad") == []
    assert [record.message.partition(":")[0] for record in caplog.records] == ["queue 'bad' gives no jobs"]


@pytest.mark.usefixtures("wrong")
async def test_a_follow_up_into_such_a_queue_holds_up_no_other_end(desk: Desk) -> None:
    await desk.publish("r.1", "r.2", expires=5)
    await desk.claim("r")
    follow = Finish(desk.fence("r.1"), "succeeded", then=(desk.message("bad.2"),))
    assert await desk.settle(follow, Finish(desk.fence("r.2"), "succeeded")) == []
    assert [await desk.state(id_) for id_ in ("r.1", "r.2")] == ["scheduled", "succeeded"]
    desk.clock.advance(60)
    assert await desk.ids("r") == ["r.1"]


@pytest.mark.usefixtures("wrong")
async def test_a_tick_into_such_a_queue_holds_up_no_other_schedule(desk: Desk) -> None:
    def entry(name: str, queue: str) -> ScheduleEntry:
        return ScheduleEntry(name=name, app="shop", kind="clean", queue=queue, spec=Spec(every=60), version="v1")

    def move(name: str, id_: str) -> ScheduleAdvance:
        return ScheduleAdvance(name=name, expect=1, upto=desk.clock.time(), messages=(desk.message(id_),))

    await desk.store.enlist([entry("a", "q"), entry("b", "bad")])
    assert await desk.store.advance([move("b", "bad.2"), move("a", "q.1")]) == [False, True]
    assert await desk.ids() == ["q.1"]
    with pytest.raises(StoreCorrupt, match=r"the key .*:bad\}:b "):
        await desk.publish("bad.3")


@pytest.mark.usefixtures("wrong")
async def test_concurrent_enqueues_into_such_a_queue_fail_alone(desk: Desk) -> None:
    ids = ("q.1", "q.2", "bad.2", "r.1", "bad.3")  # the first is sent at once, the others together
    answers = await asyncio.gather(*(desk.publish(id_) for id_ in ids), return_exceptions=True)
    assert [isinstance(each, StoreCorrupt) for each in answers] == [False, False, True, False, True]
    assert await desk.ids("q", "r") == ["q.1", "r.1", "q.2"]


@pytest.mark.parametrize("value", [None, *DAMAGED])
async def test_a_damaged_list_of_lost_jobs_ends_no_lease(
    desk: Desk, client: RedisClient, tmp_path: Path, value: bytes | None
) -> None:
    await desk.publish("q.1")
    await desk.claim()
    key = f"{{{namespace_of(tmp_path)}}}:lost:{A.id}"
    await (client.command("SET", key, "x") if value is None else client.command("RPUSH", key, value))
    desk.clock.advance(LEASE - 1)
    assert await desk.extend() == []
    desk.clock.advance(LEASE - 1)
    assert await desk.claim(holder=B) == []


@pytest.mark.parametrize("value", DAMAGED)
async def test_a_stored_follow_up_that_cannot_be_read_holds_up_no_other(tmp_path: Path, value: bytes) -> None:
    clock = FakeClock()
    store = CLUSTER.make(tmp_path, clock, DEFAULTS.max_body)
    assert isinstance(store, ClusterStore)
    await store.open()
    desk = Desk(store, clock)
    await desk.publish("q.1")
    await desk.claim()
    client, root = (await store._queues.used("q")).keyspace.client, f"{{{namespace_of(tmp_path)}:q}}:"
    await client.command("SADD", f"{root}:out", "r")
    await client.command("RPUSH", f"{root}:out:r", value)
    await desk.finish("q.1", then=[desk.message("r.1")])
    assert await desk.ids("r") == ["r.1"]
    assert await client.command("LRANGE", f"{root}:unread:r", 0, -1) == [value]
    await store.close()


async def test_an_edit_of_a_record_that_only_the_server_cannot_read_is_refused(
    desk: Desk, client: RedisClient, tmp_path: Path
) -> None:
    await desk.publish("q.bad", args={"n": 1})
    key = f"{{{namespace_of(tmp_path)}:q}}:b"
    record = bytearray(await client.command("HGET", key, "bad"))
    record[27] |= 0x20  # an unknown mark
    await client.command("HSET", key, "bad", bytes(record))
    assert (await desk.do(Edit("q.bad", change=raw({"n": 2})))).why == "unreadable"


@pytest.mark.parametrize("name", ["c", "park", "b"])
async def test_a_process_that_starts_can_use_the_other_queues(
    desk: Desk, client: RedisClient, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    topology = Topology((Queue(name="a"), Queue(name="q"), Queue(name="r")), app="tests")
    await desk.store.declare(topology)
    await desk.publish("q.1", "r.1")
    key = f"{{{namespace_of(tmp_path)}:q}}:{name}"
    await client.command("DEL", key)
    await client.command("SET", key, "another program's")
    store = CASE.make(tmp_path, desk.clock, DEFAULTS.max_body)
    await store.open()
    try:
        with caplog.at_level(logging.ERROR, "outlast.redis"):
            await store.declare(topology)
            other = Desk(store, desk.clock)
            assert await other.ids("a", "q", "r") == ["r.1"]
            assert await other.finish("r.1") == []
        if name == "c":  # the declaration of a queue is in it
            with pytest.raises(StoreCorrupt, match=f"the key .*:q}}:{name} "):
                await store.declare(Topology((Queue(name="q"),), app="tests"))
            with pytest.raises(StoreCorrupt, match=f"the key .*:q}}:{name} "):
                await store.publish([message("q.3", desk.clock.time())])
    finally:
        await store.close()
    assert "queue 'q'" in caplog.text


@pytest.mark.parametrize("name", [b"\xff", b"a:b", b"a}b", b"", b"x" * 65])
async def test_a_name_that_no_queue_can_have_is_left_out(
    desk: Desk, client: RedisClient, tmp_path: Path, name: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.publish("q.1")
    await client.command("SADD", f"{{{namespace_of(tmp_path)}}}:queues", name)
    store = CASE.make(tmp_path, desk.clock, DEFAULTS.max_body)
    await store.open()
    try:
        with caplog.at_level(logging.ERROR, "outlast.redis"):
            assert list(await store.stats(())) == ["q"]
            assert [each.id for each in (await store.find(Query())).records] == ["q.1"]
            assert await store.count(Query()) == {"ready": 1}
        assert caplog.text.count("which is no name of a queue") == 1
    finally:
        await store.close()


async def test_texts_that_are_not_utf8_are_told(desk: Desk, client: RedisClient, tmp_path: Path) -> None:
    topology = Topology((Queue(name="q"),), app="tests")
    await desk.store.declare(topology)
    root = namespace_of(tmp_path)
    await client.command("HSET", f"{{{root}:q}}:c", "app", b"\xff")
    with pytest.raises(ConfigurationError, match=r"queue 'q' belongs to app '\\+xff'"):
        await desk.store.declare(topology)
    await client.command("SET", f"{{{root}}}:born", b"\xff")
    store = CASE.make(tmp_path, desk.clock, DEFAULTS.max_body)
    with pytest.raises(StoreCorrupt, match="born is no text"):
        await store.open()
    await store.close()


@pytest.mark.parametrize(("name", "left"), [("b", ["q.2"]), ("d", ["q.1", "q.2"])])
async def test_a_running_job_that_lost_its_record_or_state_holds_up_no_other_when_its_lease_lapses(
    desk: Desk, client: RedisClient, tmp_path: Path, name: str, left: list[str]
) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim()
    await client.command("HDEL", f"{{{namespace_of(tmp_path)}:q}}:{name}", "1")
    await desk.lapse()
    assert sorted(await desk.ids(holder=B)) == left


@pytest.mark.parametrize("at", [0, 12])
async def test_limits_that_cannot_be_read_let_no_job_begin_until_the_next_declaration(
    desk: Desk, client: RedisClient, tmp_path: Path, at: int
) -> None:
    await desk.declare("q")
    await desk.publish("q.1")
    key = f"{{{namespace_of(tmp_path)}:q}}:c"
    limits = msgpack.decode(await client.command("HGET", key, "limits"))
    limits[at] = "x"
    await client.command("HSET", key, "limits", msgpack.encode(limits))
    assert await desk.ids() == []
    await desk.declare("q", max_depth=9)
    assert await desk.ids() == ["q.1"]


def counters(at: int, value: float) -> bytes:
    """Return sound counters of a queue, but for one of them."""
    values = [0.0] * 22
    values[at] = value
    return struct.pack(">22d", *values)


@pytest.mark.parametrize(
    "damaged",
    [b"", b"x" * 176, b"\xff" * 176, counters(0, -1.0), counters(1, 0.5), counters(6, 2.0**60), counters(13, math.inf)],
)
async def test_counters_that_cannot_be_read_are_counted_again(
    desk: Desk, client: RedisClient, tmp_path: Path, damaged: bytes
) -> None:
    await desk.run("q.ended")
    await desk.run("q.kept", result=raw(1))
    await desk.run("q.dead", state="dead")
    await desk.publish("q.parked", "q.run1", "q.run2")
    await desk.claim()
    await desk.settle(Park(desk.fence("q.parked"), desk.clock.time() + 99))
    await desk.publish("q.later", delay=99)
    await desk.publish(*(f"q.{n}" for n in range(5)))
    before = await desk.stats()
    assert (before.depth, before.ready, before.running, before.parked, before.scheduled) == (9, 5, 2, 1, 1)
    await client.command("HSET", f"{{{namespace_of(tmp_path)}:q}}:c", "s", damaged)
    after = await desk.stats()
    assert structs.replace(after, drain_rate=before.drain_rate, bytes=before.bytes) == before
    assert await desk.ids() == [f"q.{n}" for n in range(5)]
    assert (await desk.stats()).running == 7
