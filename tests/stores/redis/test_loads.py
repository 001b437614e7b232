"""What a worker can do is told to the server until the server has it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import pytest
from msgspec import structs

from outlast.aio.clock import SystemClock
from outlast.brokers.redis.store import SingleServerStore
from outlast.clients.redis.address import Address
from outlast.core.errors import StoreUnavailable
from outlast.core.forecast import Offer
from outlast.core.message import Holder
from tests.support.jobs import A, message
from tests.support.servers.redis_server import shared_server

TWO = structs.replace(A, loads={"q": Offer(2, 1.0)})


class Failing(SingleServerStore):
    """A store that fails the first `failures` times that a worker tells what it can do."""

    failures = 2

    async def tell(self, holder: Holder, queues: Sequence[str], attended: Sequence[str] = ()) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        await super().tell(holder, queues, attended)


@pytest.fixture
async def store() -> AsyncIterator[Failing]:
    address = Address.of(f"{shared_server().url}?namespace={uuid4().hex[:12]}")
    store = Failing(address, clock=SystemClock(), max_body=1_000_000, now=None)
    await store.open()
    yield store
    await store.close()


async def claim(store: Failing) -> None:
    assert await store.claim({"q": 1}, limit=1, holder=TWO, lease=60, wait=0) == []


async def test_what_was_not_stored_is_told_again_and_logged_once(
    store: Failing, caplog: pytest.LogCaptureFixture
) -> None:
    await store.publish([message("q.1", 0.0, delay=1e10)])
    with caplog.at_level(logging.WARNING, "outlast.redis"):
        for _ in range(3):
            await claim(store)
    assert sum("could not be stored" in each for each in caplog.messages) == 1
    assert (await store.stats(["q"]))["q"].forecast.ends == 2.0
