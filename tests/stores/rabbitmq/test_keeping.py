"""What a worker gives back that it does not ask for, and the end of a silence."""

from __future__ import annotations

import asyncio

import pytest

from outlast.brokers.rabbitmq import consumption
from outlast.brokers.rabbitmq.declared import dead_queue, declare_queue, queue_arguments
from outlast.clients.amqp.address import AmqpAddress
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
