"""What the pieces count while their store is away: each degraded answer once, with the side that it took."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from outlast import Outlast, Settings
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.idempotency.keys import Held, IdempotencyKeys, StoredAnswer
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.store import ToolkitStore
from tests.support.counts import Counted, value_of
from tests.support.polling import until
from tests.support.servers.redis_server import RedisServer

DEGRADED = "outlast_toolkit_degraded_total"


@pytest.fixture
async def shop(server: RedisServer) -> AsyncIterator[Outlast]:
    """An app whose toolkit is on the server, and answers."""
    shop = Outlast("shop", settings=Settings(url="memory:", toolkit_url=server.url, toolkit_timeout=1.5))
    await until(lambda: answers(shop), "the store answers")
    yield shop
    await shop.close()


async def answers(shop: Outlast) -> bool:
    async def ping(store: ToolkitStore) -> bool:
        assert isinstance(store, ToolkitServer)
        return bool(await store.client.command("ECHO", "x") == b"x")

    try:
        return await shop._toolkit().use(ping)
    except ToolkitAway:
        return False


async def test_each_piece_counts_its_side_once_for_each_call(shop: Outlast, server: RedisServer) -> None:
    limiter, closed = shop.limiter("9/day", name="api-away"), shop.limiter("9/day", name="login-away", closed=True)
    sessions, keys = shop.sessions(), IdempotencyKeys(shop._toolkit(), ttl=60)
    begun = await sessions.open(None)
    begun["a"] = 1
    await begun.save()
    held = await keys.begin([b"held"], b"p" * 32)
    assert isinstance(held, Held)
    degraded = Counted(DEGRADED)
    server.stop()

    async def compute() -> int:
        return 1

    reads = Counted("outlast_cache_reads_total")
    for _ in range(2):
        assert await shop.cache.get_or_set("k", compute, ttl=60) == 1
    assert await shop.cache.get("k", default=0) == 0
    assert not await shop.cache.set("k", 1, ttl=60)
    with pytest.raises(ToolkitAway):
        await shop.cache.delete("k")
    assert reads.added == {"get_or_set,away": 2, "get,away": 1}
    assert degraded.added == {"cache,source": 2, "cache,default": 1, "cache,not-kept": 1, "cache,raised": 1}

    degraded, decisions = Counted(DEGRADED, "limiter"), Counted("outlast_limiter_decisions_total")
    taken = [await limiter.take("k") for _ in range(10)]
    assert all(each.approximate for each in taken)
    with pytest.raises(ToolkitAway):
        await closed.take("k")
    assert decisions.added == {"api-away,allowed": 9, "api-away,refused": 1}
    assert degraded.added == {"local": 10, "raised": 1}

    degraded, waits = Counted(DEGRADED, "lock"), Counted("outlast_lock_acquisitions_total")
    with pytest.raises(ToolkitAway):
        async with shop.lock("k", wait=0):
            pass
    assert (waits.added, degraded.added) == ({"away": 1}, {"raised": 1})

    degraded, operations = Counted(DEGRADED, "session"), Counted("outlast_session_operations_total")
    assert (await sessions.open(begun.issued)).is_away
    begun["a"] = 2
    with pytest.raises(ToolkitAway):
        await begun.save()
    with pytest.raises(ToolkitAway):
        await sessions.of_user("ann")
    assert operations.added == {"open,away": 1, "save,away": 1, "list,away": 1}
    assert degraded.added == {"anonymous": 1, "raised": 2}

    degraded, found = Counted(DEGRADED, "idempotency"), Counted("outlast_idempotency_keys_total")
    with pytest.raises(ToolkitAway):
        await keys.begin([b"k"], b"p" * 32)
    assert not await held.finish(StoredAnswer(200))
    assert found.added == {"away": 1}
    assert degraded.added == {"raised": 1, "later": 1}

    degraded, calls = Counted(DEGRADED, "board"), Counted("outlast_board_calls_total")
    with pytest.raises(ToolkitAway):
        await shop.board("best").add("a")
    with pytest.raises(ToolkitAway):
        await shop.unique("seen").count()
    assert await shop.board("best", away="empty").top() == []
    assert calls.added == {"write,away": 1, "read,away": 2}
    assert degraded.added == {"raised": 2, "empty": 1}
    server.start()
    await until(lambda: not keys.keeper._late, "what was to be stored later is stored")
    assert degraded.added == {"raised": 2, "empty": 1}


async def test_the_guard_of_the_store_is_open_and_the_connection_is_made_again(
    shop: Outlast, server: RedisServer
) -> None:
    calls, again = Counted("outlast_guard_calls_total", "toolkit"), Counted("outlast_reconnects_total")
    others = value_of("outlast_guard_open", "toolkit") or 0  # of apps of other tests
    server.stop()
    assert not await answers(shop)
    assert not await answers(shop)
    assert calls.added == {"failure": 1, "open": 1}
    assert value_of("outlast_guard_open", "toolkit") == others + 1
    server.start()
    await until(lambda: answers(shop), "the store is used again")
    assert value_of("outlast_guard_open", "toolkit") == others
    assert calls.added["success"] == 1
    assert again.added["redis"] == 1
