"""The history on a server: what another program wrote into it, and keys that expire by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from outlast.brokers.redis.history import HistoryOperations
from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.errors import StoreCorrupt
from outlast.core.history import COST_DAYS, DAY, STEPS, Cost, QueueSample, day_of, entry
from outlast.core.policy import DEFAULTS
from outlast.testing.clock import FakeClock
from tests.support.history_damage import stands_damage
from tests.support.jobs import Desk
from tests.support.servers.redis_server import shared_server
from tests.support.stores import CASES, namespace_of, redis_url

CASE = next(case for case in CASES if case.name == "redis")


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


@pytest.mark.parametrize("bad", [b"", b"x", b"\xff\xff", b"170000000 {", b"1700000000.000000 {"])
async def test_unreadable_items_are_left_out(
    desk: Desk, client: RedisClient, tmp_path: Path, bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    root = f"{{{namespace_of(tmp_path)}}}"

    async def vandalize() -> None:
        slot = int(desk.clock.time() // STEPS[0].seconds) - 1
        await client.command("LSET", f"{root}:samples:10:mail", -1, b"%d {" % slot)
        await client.command("LSET", f"{root}:mark", -1, bad)
        key = f"{root}:cost:{day_of(desk.clock.time())}"
        await client.command("HSET", key, b"send\0bad", bad)

    await stands_damage(desk, vandalize, caplog)


@pytest.mark.parametrize("bad", [b"", b"x", b"\xff\xff", b"99999999999999999999999"])
async def test_a_newest_sample_that_cannot_be_read_holds_up_no_other(
    desk: Desk, client: RedisClient, tmp_path: Path, bad: bytes
) -> None:
    await desk.declare("mail")
    await client.command("LPUSH", f"{{{namespace_of(tmp_path)}}}:samples:10:mail", bad)
    assert await desk.store.keep_samples({"mail": QueueSample(depth=7)}) == 2
    assert [each.depth for each in (await desk.store.samples(STEPS[0]))["mail"]] == [7]


async def test_a_key_of_a_wrong_type_is_named_and_stops_no_job(desk: Desk, client: RedisClient, tmp_path: Path) -> None:
    root = f"{{{namespace_of(tmp_path)}}}"
    await desk.publish("mail.1")
    for key in (f"{root}:samples:10:mail", f"{root}:mark", f"{root}:cost:{day_of(desk.clock.time())}"):
        await client.command("SET", key, "another program's")
        with pytest.raises(StoreCorrupt, match=rf"the key \{{.*{key.rpartition('}')[2]} does not hold a"):
            await desk.store.keep_samples({"mail": QueueSample()})
            await desk.store.add_entries([entry("mark", "died")])
            await desk.store.add_costs("w", 1, [Cost(kind="send", runs=1)])
        await client.command("DEL", key)
    assert await desk.ids("mail") == ["mail.1"]


async def test_samples_and_costs_expire_by_themselves(desk: Desk, tmp_path: Path) -> None:
    admin = RedisClient(Address.of(shared_server("").url))  # the user of the stores may not ask for a TTL
    await admin.open()
    root = f"{{{namespace_of(tmp_path)}}}"
    await desk.store.keep_samples({"mail": QueueSample()})
    await desk.store.add_costs("w", 1, [Cost(kind="send", runs=1)])
    today = day_of(desk.clock.time())
    for key, most in (
        *((f"{root}:samples:{step.seconds}:mail", 2 * step.kept) for step in STEPS),
        (f"{root}:cost:{today}", (COST_DAYS + 1) * DAY),
        (f"{root}:charged:{today}", 3 * DAY),
    ):
        assert most - 100 < await admin.command("TTL", key) <= most
    await admin.close()


async def test_no_script_reads_more_than_a_day_of_costs_or_the_samples_of_a_few_queues(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One script that read 90 days of 10,000 rows blocked the server for 4 s, and its answer came too late."""
    replies: list[Any] = []
    call = HistoryOperations._call

    async def recorded(self: HistoryOperations, *args: Any, **how: Any) -> Any:
        replies.append(await call(self, *args, **how))
        return replies[-1]

    queues = [f"q{number}" for number in range(45)]
    for number in range(3):
        desk.clock.advance(DAY)
        await desk.store.add_costs("w", number, [Cost(kind="send", tenant=f"t{n}", runs=1) for n in range(4)])
        await desk.store.keep_samples(dict.fromkeys(queues, QueueSample(depth=number)))
    monkeypatch.setattr(HistoryOperations, "_call", recorded)
    assert [(each.tenant, each.runs) for each in await desk.store.costs(4)] == 3 * [(f"t{n}", 1) for n in range(4)]
    assert [len(fields) for _, fields in replies] == [8, 8, 8, 0]
    replies.clear()
    assert set(await desk.store.samples(STEPS[1], queues)) == set(queues)
    assert [len(reply) for reply in replies] == [20, 20, 5]
