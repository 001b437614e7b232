"""What a worker gives back that it does not ask for, and the end of a silence."""

from __future__ import annotations

import asyncio

import pytest

from outlast.brokers.rabbitmq import consumption, declared, queue_watch
from outlast.brokers.rabbitmq.declared import dead_queue, declare_queue, queue_arguments
from outlast.brokers.rabbitmq.lookup import find_queue
from outlast.brokers.rabbitmq.queue_watch import QueueWatch
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.properties import MessageProperties
from outlast.core.errors import ConfigurationError, StoreUncertain
from outlast.core.settlement import Finish
from tests.stores.rabbitmq.bench import Bench
from tests.support.jobs import A
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import shared_rabbit


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(consumption, "_KEEP_EVERY", 0.05)


async def test_jobs_that_no_claim_asks_for_go_to_another_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumption, "_IDLE", 0.2)
    assert await bench.broker.claim({"q": 5}, limit=5, holder=A, lease=10, wait=0) == []
    await bench.publish(5)
    (held,) = await bench.claim()
    other = Bench(bench.url)
    await other.open()
    given = await other.claim(4, slots=5)
    assert {each.attempt for each in given} == {1}
    assert held.message.id not in {each.message.id for each in given}
    assert await bench.settle(Finish(held.fence, "succeeded")) == []
    await other.settle(*(Finish(each.fence, "succeeded") for each in given))
    await bench.publish()
    (again,) = await bench.claim()  # it consumes again as soon as it asks
    await bench.settle(Finish(again.fence, "succeeded"))
    await other.close()


async def test_a_queue_that_was_made_again_at_once_is_consumed_after_a_silence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ 3.10 tells the consumer of the deleted queue nothing, and delivers it nothing."""
    monkeypatch.setattr(consumption, "_SILENCE", 1.0)
    await bench.publish()
    (first,) = await bench.claim()
    await bench.settle(Finish(first.fence, "succeeded"))
    to = bench.client.declarations
    await to.delete_queue("q")
    await to.declare_queue("q", arguments=queue_arguments("q"))
    await bench.publish()
    (second,) = await bench.claim()
    await bench.settle(Finish(second.fence, "succeeded"))


async def test_a_queue_of_dead_letters_that_was_deleted_is_made_again(
    bench: Bench, vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumption, "_DEAD_EVERY", 0.1)
    await bench.publish()
    await bench.claim()
    await bench.client.declarations.delete_queue(dead_queue("q"))

    async def there() -> bool:
        found = await asyncio.to_thread(shared_rabbit().api, "GET", f"queues/{vhost}")
        return dead_queue("q") in {each["name"] for each in found}

    await until(there, "the queue is there again")
    await declare_queue(bench.client.declarations, "q", AmqpAddress.of(bench.url))  # with its own arguments


async def test_who_publishes_a_dead_letter_tells_that_its_queue_was_gone(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.publish()
    (job,) = await bench.claim()  # the consumer has made its queues
    await bench.settle(Finish(job.fence, "succeeded"))
    await bench.client.declarations.delete_queue(dead_queue("q"))
    await bench.send(b"", MessageProperties())  # no kind: no job
    await until(lambda: _dead(bench, "q", 1), "it is a dead letter")
    assert len([each for each in caplog.messages if "queue 'q.dead' was gone and is made again" in each]) == 1


async def test_a_refused_queue_stops_no_other_and_is_told_once_for_each_change(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.declare("r", "s")
    to, watch = bench.client.declarations, QueueWatch(bench.client)
    await watch.look(["q", "r", "s"])
    for queue in ("q", "r", "s"):
        await to.delete_queue(dead_queue(queue))
    await to.declare_queue(dead_queue("r"), arguments={"x-queue-type": "quorum", "x-max-length": 7})
    for _ in range(3):
        await watch.look(["r", "q", "s"])
    assert [bool(await find_queue(bench.client, dead_queue(each))) for each in ("q", "s")] == [True, True]
    assert [each.levelname for each in caplog.records] == ["WARNING", "WARNING", "WARNING"]
    assert caplog.messages[0].startswith("queue 'r' cannot be declared: queue 'r.dead' exists at amqp://")
    assert caplog.messages[1].startswith("queue 'q.dead' was gone and is made again: the dead letters in it are lost")
    await to.delete_queue(dead_queue("r"))
    await watch.look(["r", "q", "s"])
    assert caplog.messages[-1] == "queue 'r' is declared again"


async def test_a_refused_queue_stops_no_other_at_a_declaration(vhost: str) -> None:
    bench = Bench(shared_rabbit().url_of(vhost))
    await bench.client.declarations.declare_queue("bad")
    with pytest.raises(ConfigurationError, match=r"^queue 'bad' exists at .* with another x-"):
        await bench.open("bad", "good")
    assert await find_queue(bench.client, "good") is not None
    with pytest.raises(StoreUncertain, match=r"queue 'worse\.dead' exists"):
        await bench.client.declarations.declare_queue(dead_queue("worse"))
        await bench.broker.publish([bench.message("worse"), bench.message("new")])
    assert (await bench.stats("new"))[0] == 1
    await bench.close()


async def test_the_oldest_dead_letters_beyond_the_bound_are_dropped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (declared, queue_watch):
        monkeypatch.setattr(module, "DEAD_MOST", 3)
    await bench.declare("small")
    for number in range(5):
        await bench.send(str(number).encode(), MessageProperties(), "small")  # no kind: no job
    await until(lambda: _dead(bench, "small", 3), "they are dead letters")
    watch = QueueWatch(bench.client)
    for _ in range(2):
        await watch.look(["small"])
    assert [each for each in caplog.messages if "3 dead letters" in each] == [
        "queue 'small.dead' has 3 dead letters: the server drops the oldest one for each further one; read or purge it"
    ]
    assert [letter.body for letter, _ in await bench.letters(3, "small")] == [b"2", b"3", b"4"]


async def _dead(bench: Bench, queue: str, number: int) -> bool:
    await bench.broker.claim({queue: 10}, limit=10, holder=A, lease=10, wait=0.2)
    return await bench.stats(queue) == (0, 0, number)
