"""What the pieces count is what has happened, on each store."""

from __future__ import annotations

import asyncio
import threading

import pytest

from outlast import LockTimeout
from outlast.core.toolkit_errors import BoardFull, LockLost, SessionConflict, SessionEnded, SessionFull
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.boards.board import Leaderboard
from outlast.toolkit.boards.unique import UniqueCount
from outlast.toolkit.idempotency.keys import Held, IdempotencyKeys, StoredAnswer
from outlast.toolkit.limiter.limiter import Limiter
from outlast.toolkit.lock.lock import Lock
from tests.support.counts import Counted, counting
from tests.support.polling import until
from tests.support.toolkit_cache import Source, cache_on
from tests.support.toolkit_sessions import begun_session, sessions_on

READS = "outlast_cache_reads_total"
NOTHING: dict[str, float] = {}


async def test_reads_of_a_cached_function(kit: Toolkit, clock: FakeClock) -> None:
    cache, source = cache_on(kit), Source(held=True)

    @cache.cached(ttl=60, jitter=0, stale=30, early=0)
    async def product() -> object:
        return await source.compute()

    counted = Counted(READS, product.__qualname__)  # type: ignore[attr-defined]
    readers = [asyncio.create_task(product()) for _ in range(3)]
    await source.until_began(1)
    source.open()
    await asyncio.gather(*readers)
    assert counted.added == {"miss": 1, "joined": 2}
    await product()
    clock.advance(61)
    await product()
    await until(lambda: source.began == 2, "it is refreshed in the background")

    async def is_refreshed() -> bool:
        before = counted.added["hit"]
        await product()
        return counted.added["hit"] > before

    await until(is_refreshed, "the new value is there")
    added = counted.added
    assert (added["miss"], added["joined"], added["hit"]) == (1, 2, 2)
    assert added["stale"] >= 1
    assert set(added) == {"miss", "joined", "hit", "stale"}


async def test_a_read_whose_computation_fails_is_counted_once(kit: Toolkit) -> None:
    cache, source = cache_on(kit), Source()
    source.fault = OSError("the source is down")
    with counting(READS, "get_or_set", miss=1), pytest.raises(OSError, match="down"):
        await cache.get_or_set("k", source.compute, ttl=60)


async def test_an_old_value_that_serves_when_the_source_fails_is_stale(kit: Toolkit, clock: FakeClock) -> None:
    cache, source = cache_on(kit), Source()

    async def read() -> object:
        return await cache.get_or_set("k", source.compute, ttl=60, jitter=0, early=0, stale_on_error=60)

    with counting(READS, "get_or_set", miss=1, stale=1):
        await read()
        clock.advance(61)
        source.fault = OSError("the source is down")
        await read()


async def test_gets(kit: Toolkit) -> None:
    cache = cache_on(kit)
    with counting(READS, "get", hit=2, miss=2), counting("outlast_toolkit_degraded_total", "cache"):
        assert await cache.get("k") is None
        await cache.set("k", 1, ttl=60)
        assert await cache.get_many(["k", "other"]) == {"k": 1}
        assert await cache.get("k") == 1


async def test_decisions_of_a_limiter(kit: Toolkit) -> None:
    limiter = Limiter(lambda: kit, "3/day", name="counted")
    with counting("outlast_limiter_decisions_total", "counted", allowed=3, refused=2):
        for _ in range(5):
            await limiter.take("k")


async def test_ends_of_waits_for_locks(kit: Toolkit) -> None:
    lock = Lock(lambda: kit, "counted")
    at_once = Lock(lambda: kit, "counted", wait=0)
    with counting("outlast_lock_acquisitions_total", acquired=2, timeout=2, cancelled=1):
        async with lock:
            for _ in range(2):
                with pytest.raises(LockTimeout):
                    await at_once.__aenter__()
            waiting = asyncio.create_task(lock.__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await asyncio.to_thread(_taken, lock)


def _taken(lock: Lock) -> None:
    with lock:
        pass


async def test_a_lock_that_is_lost_is_counted_once(kit: Toolkit, clock: FakeClock) -> None:
    losses = Counted("outlast_lock_losses_total")
    with pytest.raises(LockLost):
        async with Lock(lambda: kit, "lost") as lease:
            lease.confirm(0)
    assert losses.added == {"": 1}
    lease = await Lock(lambda: kit, "late").__aenter__()
    locks = kit.piece(type(Lock(lambda: kit, "late")._locks()))
    locks.renewals.remove(lease)  # as in a process that stood still
    clock.advance(60)
    assert lease.leave(None)
    assert losses.added == {"": 2}


async def test_calls_of_sessions(kit: Toolkit) -> None:
    sessions = sessions_on(kit, max_fields=2)
    operations = Counted("outlast_session_operations_total")
    id_ = await begun_session(sessions, "ann", a=1)
    assert operations.added == {"open,none": 1, "save,ok": 1}
    first, second = await sessions.open(id_), await sessions.open(id_)
    assert not (await sessions.open("A" * 43)).exists
    assert operations.added == {"open,none": 2, "open,ok": 2, "save,ok": 1}
    first["a"] = first["a"] + 1
    second["a"] = second["a"] + 1
    await first.save()
    with pytest.raises(SessionConflict):
        await second.save()
    first["b"], first["c"] = 1, 1
    with pytest.raises(SessionFull):
        await first.save()
    assert len(await sessions.of_user("ann")) == 1
    second.end()
    await second.save()
    first["a"] = 5
    with pytest.raises(SessionEnded):
        await first.save()
    await sessions.revoke_user("ann")
    flashing = await sessions.open(await begun_session(sessions, None, a=1))
    flashing.flash("told")
    await flashing.save()
    await flashing.take_flashes()
    assert operations.added == {
        "open,none": 3,
        "open,ok": 3,
        "save,ok": 4,
        "save,conflict": 1,
        "save,full": 1,
        "save,ended": 1,
        "list,ok": 1,
        "end,ok": 1,
        "revoke,ok": 1,
        "flash,ok": 1,
    }


async def test_requests_with_an_idempotency_key(kit: Toolkit) -> None:
    keys = IdempotencyKeys(kit, ttl=3600)
    scope, payload, other = [b"counted"], b"p" * 32, b"o" * 32
    with counting("outlast_idempotency_keys_total", **{"begun": 1, "in-flight": 1, "other-payload": 1, "answered": 2}):
        held = await keys.begin(scope, payload)
        assert isinstance(held, Held)
        await keys.begin(scope, payload)
        await keys.begin(scope, other)
        await held.finish(StoredAnswer(200))
        await keys.begin(scope, payload)
        await keys.begin(scope, payload)


async def test_calls_of_boards(kit: Toolkit) -> None:
    board = Leaderboard(lambda: kit, "counted", max_members=2)
    seen = UniqueCount(lambda: kit, "counted", max_members=1)
    calls = Counted("outlast_board_calls_total")
    await board.add("a")
    await board.set("b", 2)
    with pytest.raises(BoardFull):
        await board.add("c")
    await board.remove("none")
    await board.top()
    await board.rank("a")
    await seen.add("x")
    with pytest.raises(BoardFull):
        await seen.add("y")
    await seen.count()
    assert calls.added == {"write,ok": 4, "write,full": 2, "read,ok": 3}


async def test_what_many_threads_do_is_counted_whole(kit: Toolkit) -> None:
    limiter = Limiter(lambda: kit, "1000/day", name="threads")

    def take() -> None:
        for _ in range(10):
            limiter.take_sync("k")

    def all_of_them() -> None:
        threads = [threading.Thread(target=take) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    with counting("outlast_limiter_decisions_total", "threads", allowed=40):
        await asyncio.to_thread(all_of_them)
