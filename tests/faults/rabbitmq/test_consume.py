"""A consumer comes back whatever ended it, notices it at once, and no old receipt settles another's message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.consumer import AmqpConsumer, AmqpDelivery
from outlast.clients.amqp.declarations import AmqpDeclarations
from outlast.clients.amqp.errors import AmqpRefused
from outlast.core.errors import ConfigurationError, StoreError, StoreUnavailable, StoreUncertain
from tests.support.amqp import QUORUM, Collector, amqp, message, through
from tests.support.polling import until
from tests.support.servers.proxy import proxied
from tests.support.servers.rabbitmq_server import RabbitServer


async def declare(declarations: AmqpDeclarations) -> None:
    await declarations.declare_queue("q", arguments=QUORUM)


async def interrupted(consumer: AmqpConsumer) -> None:
    """Wait until the consumer has noticed that it consumes no more: long before a heartbeat of 60 s would tell it.

    It looks each millisecond: the consumer may consume again before `until` looks.
    """
    began = time.monotonic()
    while consumer.consuming:
        await asyncio.sleep(0.001)
        assert time.monotonic() - began < 30


async def send(client: AmqpClient, *bodies: bytes) -> None:
    """Publish to "q" until each is confirmed."""
    for body in bodies:
        await until(partial(_confirmed, client, body), f"{body!r} is confirmed", within=60)


async def _confirmed(client: AmqpClient, body: bytes) -> bool:
    (answer,) = await client.publish([message("q", body)], 10)
    return answer.outcome == "confirmed"


async def test_receipts_settle_and_what_is_given_back_comes_again(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await declare(client.declarations)
        await send(client, *(b"%d" % n for n in range(5)))
        got = Collector()
        consumer = got.consume(client, "q")
        one, two, three, four, five = await got.have(5)
        assert consumer.ack(one.epoch, [one.tag, two.tag, three.tag]) == []
        assert consumer.nack(four.epoch, [four.tag], requeue=True) == []
        assert consumer.nack(five.epoch, [five.tag], requeue=False) == []
        again = (await got.have(6))[5]
        assert (again.body, again.redelivered, again.epoch) == (four.body, True, four.epoch)
        assert consumer.ack(again.epoch, [again.tag, again.tag]) == []
        assert consumer.ack(again.epoch, [again.tag]) == []  # settled before: nothing is written
        assert consumer.ack(again.epoch, [99]) == [99]
        assert consumer.ack(again.epoch + 1, [again.tag]) == [again.tag]
        assert consumer.unsettled == 0
        await until(lambda: not rabbit.held(vhost, "q"), "the queue is empty")
        assert consumer.consuming


async def test_a_prefetch_bounds_what_is_delivered_and_may_change(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await declare(client.declarations)
        await send(client, *(b"%d" % n for n in range(9)))
        got = Collector()
        consumer = got.consume(client, "q", prefetch=2)
        first = await got.have(2)
        assert len(got.deliveries) == 2
        consumer.set_prefetch(0)
        await interrupted(consumer)
        assert consumer.ack(first[0].epoch, [each.tag for each in first]) == []
        await until(lambda: _no_consumer(client), "the server has no consumer")
        assert (await client.declarations.find_queue("q")).messages == 9 - len(got.deliveries)
        consumer.set_prefetch(5)
        every = await got.have(7)
        assert {each.epoch for each in every} == {first[0].epoch}  # the receipts stay
        assert consumer.ack(first[0].epoch, [each.tag for each in every]) == []
        await got.have(9)
        assert consumer.ack(first[0].epoch, [each.tag for each in got.deliveries]) == []
        await until(lambda: not rabbit.held(vhost, "q"), "the queue is empty")


async def _no_consumer(client: AmqpClient) -> bool:
    return (await client.declarations.find_queue("q")).consumers == 0


@pytest.fixture
def own_channel_timeout() -> Iterator[RabbitServer]:
    """A node that ends a channel whose consumer settles nothing for a second."""
    server = RabbitServer(options=("consumer_timeout = 1000",))
    try:
        server.start()
        server.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).")
        yield server
    finally:
        server.remove()


async def test_a_consumer_timeout_ends_its_own_channel_alone(own_channel_timeout: RabbitServer) -> None:
    async with amqp(own_channel_timeout.url) as client:
        await declare(client.declarations)
        await client.declarations.declare_queue("other", arguments=QUORUM)
        problems: list[StoreError | None] = []
        got, other = Collector(), Collector(ack=True)
        consumer = got.consume(client, "q", on_change=problems.append)
        undisturbed = other.consume(client, "other")
        await send(client, b"slow")
        (slow,) = await got.have(1)
        (again,) = (await got.have(2))[1:]
        assert (again.body, again.redelivered) == (b"slow", True)
        assert again.epoch > slow.epoch
        assert consumer.ack(slow.epoch, [slow.tag]) == [slow.tag]  # not that of the new channel, of the same number
        assert consumer.ack(again.epoch, [again.tag]) == []
        closed = next(each for each in problems if isinstance(each, AmqpRefused))
        assert closed.code == 406
        assert "timeout" in closed.text
        assert undisturbed.consuming
        await client.publish([message("other")], 10)
        await other.have(1)
        assert other.deliveries[0].epoch < again.epoch  # its channel was never made again


async def test_a_deleted_queue_is_noticed_and_declared_again(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        got = Collector(ack=True)
        consumer = got.consume(client, "q", on_ready=declare)
        await consumer.ready()
        deleting = asyncio.create_task(client.declarations.delete_queue("q"))
        await interrupted(consumer)
        await deleting
        await send(client, b"1")
        await got.have(1)
        await consumer.ready()
        assert consumer.problem is None


async def test_a_missing_queue_is_asked_for_again_while_others_run(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await client.declarations.declare_queue("other", arguments=QUORUM)
        problems: list[StoreError | None] = []
        got, other = Collector(ack=True), Collector(ack=True)
        consumer = got.consume(client, "q", on_change=problems.append)
        other.consume(client, "other")
        await client.publish([message("other")], 10)
        await other.have(1)
        await until(lambda: problems, "the problem is told")
        refused = problems[0]
        assert isinstance(refused, AmqpRefused)
        assert (refused.code, "no queue 'q'" in refused.text) == (404, True)
        await declare(client.declarations)
        await send(client, b"1")
        await got.have(1)
        await consumer.ready()
        assert problems[-1] is None


async def test_a_refused_declaration_ends_no_other_channel(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await declare(client.declarations)
        got = Collector(ack=True)
        consumer = got.consume(client, "q")
        await consumer.ready()
        for _ in range(3):
            with pytest.raises(AmqpRefused, match="406 PRECONDITION_FAILED - inequivalent arg 'x-queue-type'"):
                await client.declarations.declare_queue("q")
        with pytest.raises(AmqpRefused, match="404 NOT_FOUND - no queue 'nope'"):
            await client.declarations.find_queue("nope")
        calls = [client.declarations.find_queue(name) for name in ("q", "nope", "q", "nope", "q")]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(each, "name", getattr(each, "code", None)) for each in found] == ["q", 404, "q", 404, "q"]
        assert consumer.consuming
        assert client._consuming.made == 1


def _kill(rabbit: RabbitServer) -> None:
    rabbit.save_queues()
    rabbit.kill()


def _start_app(rabbit: RabbitServer) -> None:
    rabbit.ctl("start_app")
    rabbit.wait_until_ready()


HOW: dict[str, Callable[[RabbitServer], tuple[Callable[[], object], Callable[[], object]]]] = {
    "close_all_connections": lambda rabbit: (
        lambda: rabbit.ctl("close_all_connections", "--global", "test"),
        lambda: None,
    ),
    "stop_app": lambda rabbit: (lambda: rabbit.ctl("stop_app"), lambda: _start_app(rabbit)),
    "kill": lambda rabbit: (lambda: _kill(rabbit), rabbit.start),
}


@pytest.mark.parametrize("how", HOW)
async def test_it_consumes_again_after_the_server_or_the_connection_ended(
    rabbit: RabbitServer, vhost: str, how: str
) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        got = Collector()
        consumer = got.consume(client, "q", on_ready=declare)
        await consumer.ready()
        await send(client, b"1")
        (first,) = await got.have(1)
        end, restart = HOW[how](rabbit)
        ending = asyncio.create_task(asyncio.to_thread(end))
        try:
            await interrupted(consumer)
            assert consumer.ack(first.epoch, [first.tag]) == [first.tag]
            await ending
        finally:
            await asyncio.to_thread(restart)
        again = (await got.have(2))[1]
        assert (again.body, again.redelivered) == (b"1", True)
        assert again.epoch > first.epoch
        assert consumer.ack(again.epoch, [again.tag]) == []
        await send(client, b"2")
        assert (await got.have(3))[2].body == b"2"


async def test_a_queue_that_answers_nothing_holds_up_no_other_one(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost), options="timeout=5s") as client:
        await declare(client.declarations)
        await client.declarations.declare_queue("other", arguments=QUORUM)
        got, other = Collector(ack=True), Collector(ack=True)
        undisturbed = other.consume(client, "other")
        await undisturbed.ready()
        with rabbit.stuck(vhost, "q"):
            consumer = got.consume(client, "q")
            await until(lambda: "no answer to Basic.Consume" in str(consumer.problem), "the problem is told")
            with pytest.raises(StoreUncertain, match=r"no answer to Queue\.Purge within 5 s"):
                await client.declarations.purge_queue("q")
            assert (await client.publish([message("q", b"late")], 0.5))[0].outcome == "unknown"
            assert (await client.publish([message("other", b"prompt")], 60))[0].outcome == "confirmed"
            assert (await other.have(1))[0].body == b"prompt"
            assert undisturbed.consuming
        await consumer.ready()
        await got.have(1)
        assert got.bodies == [b"late"]  # it was accepted after all
        assert (client._consuming.made, client._publishing.made) == (1, 1)


async def test_a_cut_is_noticed_without_traffic(rabbit: RabbitServer, vhost: str) -> None:
    async with proxied(rabbit.port) as proxy, amqp(through(proxy, rabbit, vhost)) as client:
        got = Collector(ack=True)
        consumer = got.consume(client, "q", on_ready=declare)
        await consumer.ready()
        proxy.faults.refuse = True
        proxy.reset()
        await interrupted(consumer)
        await until(lambda: isinstance(consumer.problem, StoreUnavailable), "its problem is told")
        proxy.heal()
        await consumer.ready()


async def test_a_half_open_connection_ends_with_its_heartbeat(rabbit: RabbitServer, vhost: str) -> None:
    """No byte comes any more, and the kernel of the proxy confirms all that is sent: only the heartbeat tells."""
    async with proxied(rabbit.port) as proxy, amqp(through(proxy, rabbit, vhost), options="heartbeat=1") as client:
        got = Collector(ack=True)
        consumer = got.consume(client, "q", on_ready=declare)
        await consumer.ready()
        proxy.deafen()
        await interrupted(consumer)
        proxy.heal()
        await consumer.ready()
        await send(client, b"1")
        await got.have(1)


async def test_a_delivery_that_its_receiver_refuses_ends_no_other_consumer(rabbit: RabbitServer, vhost: str) -> None:
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))
    async with amqp(rabbit.url_of(vhost)) as client:
        await declare(client.declarations)
        await client.declarations.declare_queue("other", arguments=QUORUM)
        other = Collector(ack=True)
        undisturbed = other.consume(client, "other")
        await undisturbed.ready()
        times: list[AmqpDelivery] = []

        def receive(delivery: AmqpDelivery) -> None:
            times.append(delivery)
            if len(times) < 3:
                raise ValueError(delivery.tag)

        client.consume("q", 10, receive)
        await send(client, b"1")
        await until(lambda: len(times) == 3, "it came again")
        assert [each.redelivered for each in times] == [False, True, True]
        assert [type(each) for each in heard] == [ValueError, ValueError]
        assert undisturbed.consuming


async def test_a_closed_consumer_gives_back_what_it_has(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await declare(client.declarations)
        await send(client, b"1", b"2")
        first, second = Collector(), Collector(ack=True)
        consumer = first.consume(client, "q")
        one, two = await first.have(2)
        assert consumer.ack(one.epoch, [one.tag]) == []
        await consumer.close()
        await consumer.close()
        assert consumer.ack(two.epoch, [two.tag]) == [two.tag]
        assert not consumer.consuming
        second.consume(client, "q")
        await second.have(1)
        assert second.bodies == [b"2"]


async def test_a_body_of_ten_megabytes_arrives(rabbit: RabbitServer, vhost: str) -> None:
    body = bytes(range(256)) * 40_000
    async with amqp(rabbit.url_of(vhost)) as client:
        await declare(client.declarations)
        await send(client, body)
        got = Collector(ack=True)
        got.consume(client, "q")
        await got.have(1)
        assert got.bodies == [body]


async def test_a_topology_that_cannot_be_declared_is_tried_again(rabbit: RabbitServer, vhost: str) -> None:
    attempts: list[int] = []

    async def ready(declarations: AmqpDeclarations) -> None:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise ConfigurationError("queue 'q' exists with other arguments")
        if len(attempts) == 2:
            raise KeyError("q")
        await declare(declarations)

    problems: list[str] = []
    async with amqp(rabbit.url_of(vhost)) as client:
        consumer = client.consume("q", 1, print, on_ready=ready, on_change=lambda each: problems.append(str(each)))
        await consumer.ready()
    assert problems == ["queue 'q': queue 'q' exists with other arguments", "queue 'q': KeyError('q')", "None"]
