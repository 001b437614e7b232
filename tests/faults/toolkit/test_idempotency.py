"""Idempotency-Keys whose process is killed, and those of a store that goes away while requests run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.idempotency.keys import Held, IdempotencyKeys, StoredAnswer
from tests.faults.proofs.idempotency import prove
from tests.faults.toolkit.order_child import OrderApp, orders_in
from tests.support.polling import until
from tests.support.servers.redis_server import RedisServer
from tests.support.stores import namespace_of, redis_url


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of the test's own."""
    if request.param == "redis":
        return f"{redis_url()}?namespace={namespace_of(tmp_path)}"
    return f"sqlite:{tmp_path}/toolkit.db"


async def test_the_key_of_a_killed_handler_is_409_until_its_lease_ends_then_one_runs(url: str, tmp_path: Path) -> None:
    clock = FakeClock()

    async def pause() -> None:
        clock.advance(4.5)

    verdict = await prove(url, tmp_path, clock, pause, kills=2, rounds=1, requests=200, senders=2)
    print(verdict)
    assert verdict.sound, verdict
    assert verdict.freed == (31.5, 31.5)
    assert verdict.refused >= 2 * 7 * 3


async def test_no_request_runs_while_the_store_is_away(kit: Toolkit, server: RedisServer, tmp_path: Path) -> None:
    app = OrderApp(kit, tmp_path / "ledger")
    assert (await app.order("before")).status == 201
    server.stop()
    replies = await asyncio.gather(*(app.order(f"key-{number}") for number in range(50)))
    replies.append(await app.order("before"))
    for reply in replies:
        assert (reply.status, reply.headers["content-type"]) == (503, "application/problem+json")
        assert json.loads(reply.body)["code"] == "idempotency-unavailable"
        assert int(reply.headers["retry-after"]) >= 1
    assert orders_in(tmp_path / "ledger") == {"before": 1}
    server.start()

    async def answered() -> bool:
        return (await app.order("after")).status == 201

    await until(answered, "requests run again")


async def test_an_answer_that_was_given_during_an_outage_is_stored_when_it_ends(
    kit: Toolkit, server: RedisServer
) -> None:
    keys = IdempotencyKeys(kit, ttl=60)
    scope, answer = [b"key"], StoredAnswer(201, (), b"done")
    held = await keys.begin(scope, b"payload")
    assert isinstance(held, Held)
    assert server.process is not None
    pid = server.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        assert not await held.finish(answer)
    finally:
        os.kill(pid, signal.SIGCONT)

    async def stored() -> bool:
        kit._guard.renew()  # what the test asks must not hold up the process that stores
        return await keys.begin(scope, b"payload") == answer

    await until(stored, "the answer is stored")
