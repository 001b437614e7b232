"""What a worker holds while the server is slow, blocked or away: it loses none of it, and takes a bounded number."""

from __future__ import annotations

import asyncio

import pytest

from outlast.brokers.rabbitmq import late
from outlast.core.errors import StoreError
from outlast.core.settlement import Finish, Reschedule
from outlast.core.topology import Queue, Topology
from tests.stores.rabbitmq.bench import Bench
from tests.support.amqp import through
from tests.support.jobs import A, failure
from tests.support.polling import until
from tests.support.servers.proxy import proxied
from tests.support.servers.rabbitmq_server import Alarm, RabbitServer

SHORT = "timeout=5s"


async def test_an_overdue_answer_loses_nothing_that_was_delivered(rabbit: RabbitServer, vhost: str) -> None:
    bench = Bench(f"{rabbit.url_of(vhost)}?{SHORT}")
    await bench.open("q", "other")
    await bench.publish(3)
    held = await bench.claim(3)
    feed = bench.broker._connected.consumption.feeds["q"]  # type: ignore[attr-defined]
    with rabbit.stuck(vhost, "q"):
        await bench.broker.claim({"other": 1}, limit=1, holder=A, lease=10, wait=0)
        await until(lambda: "no answer to Basic.Cancel" in feed.failing, "the problem is told")
    assert await bench.settle(*(Finish(each.fence, "succeeded") for each in held)) == []
    await bench.close()
    assert await asyncio.to_thread(rabbit.held, vhost, "q") == 0


async def test_a_failed_connect_at_a_declaration_is_not_the_last_one(rabbit: RabbitServer, vhost: str) -> None:
    async with proxied(rabbit.port) as proxy:
        bench = Bench(through(proxy, rabbit, vhost))
        await bench.broker.open()
        topology = Topology((Queue(name="q"),), longest_run=100.0)
        proxy.faults.refuse = True
        proxy.reset()

        async def fails() -> bool:
            try:
                await bench.broker.declare(topology)
            except StoreError:
                return True
            return False

        assert await fails()
        proxy.heal()
        await until(lambda: _declared(bench, topology), "it is declared", within=20)
        await bench.publish()
        await bench.close()


async def _declared(bench: Bench, topology: Topology) -> bool:
    try:
        await bench.broker.declare(topology)
    except StoreError:
        return False
    return True


@pytest.mark.parametrize("low_on", ["memory", "disk"])
async def test_settlements_that_wait_for_the_end_of_an_alarm_are_bounded(
    rabbit: RabbitServer, vhost: str, low_on: Alarm
) -> None:
    bench = Bench(rabbit.url_of(vhost))
    await bench.open()
    await bench.publish(20)
    taken = 0
    with rabbit.alarm(low_on):
        for _ in range(12):
            given = await bench.broker.claim({"q": 1}, limit=1, holder=A, lease=10, wait=0.5)
            taken += len(given)
            at = bench.clock.time() + 1
            assert await bench.settle(*(Reschedule(each.fence, at, 2, failure(1)) for each in given)) == []
    assert taken == 10
    again = await bench.claim(20, slots=20)
    assert sorted(each.attempt for each in again) == [1] * 10 + [2] * 10
    await bench.close()


async def test_settlements_that_wait_in_an_alarm_are_told_together(
    rabbit: RabbitServer, vhost: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(late, "_TIMEOUT", 0.2)
    bench = Bench(rabbit.url_of(vhost))
    await bench.open()
    await bench.publish(5)
    given = await bench.claim(5)
    with rabbit.alarm("memory"):
        for each in given:
            await bench.settle(Reschedule(each.fence, bench.clock.time(), 2, failure(1)))
        await until(lambda: "settlements wait, the first of queue 'q': " in caplog.text, "it is told")
    await until(lambda: "no settlement waits any more, after " in caplog.text, "the end is told")
    assert len([each for each in caplog.messages if "settlement" in each]) == 2
    await bench.close()


async def test_a_worker_whose_shares_change_takes_no_more_than_twice_its_slots(
    rabbit: RabbitServer, vhost: str
) -> None:
    bench = Bench(rabbit.url_of(vhost))
    await bench.open("q", "other")
    await bench.publish(60)
    await bench.claim(10)
    consumption = bench.broker._connected.consumption  # type: ignore[attr-defined]
    feed = consumption.feeds["q"]
    for _ in range(4):
        for demand in ({"other": 0}, {"q": 1}):  # q is paused, and goes on
            await bench.broker.claim(demand, limit=1, holder=A, lease=10, wait=0)
            await until(lambda: feed.consumer.consuming == bool(feed.consumer.prefetch), "the change")
    assert feed.outstanding <= 2 * 11
    await bench.close()
