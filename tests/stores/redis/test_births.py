"""A store whose server has lost its keys declares its queues again, whoever has used them meanwhile."""

from __future__ import annotations

from uuid import uuid4

from outlast.brokers.redis.store import store_at
from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.settlement import ACCEPTED, Full
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk
from tests.support.servers.redis_server import shared_server


async def forget(namespace: str) -> None:
    """Remove all keys of a namespace, as a flush does."""
    client = RedisClient(Address.of(shared_server().url))
    await client.open()
    keys = await client.command("KEYS", f"{{{namespace}*", key="")
    await client.command("DEL", *keys)
    await client.close()


async def test_a_queue_that_another_store_has_made_meanwhile_is_declared_again() -> None:
    namespace, clock = uuid4().hex[:12], FakeClock()
    one, other = (
        Desk(store_at(f"{shared_server().url}?namespace={namespace}", clock=clock, now=clock.time), clock)
        for _ in range(2)
    )
    await one.store.open()
    await other.store.open()
    await other.declare("q", max_depth=1)
    assert await one.publish("q.1") == [ACCEPTED]
    await forget(namespace)
    assert await one.publish("q.2", "q.3") == [ACCEPTED, ACCEPTED]
    (answer,) = await other.publish("q.4")
    assert isinstance(answer, Full)
    await one.store.close()
    await other.store.close()
