"""What idempotency keys leave in a store: rows that are removed, keys that expire, leases of an earlier boot."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.core.errors import StoreFull
from outlast.testing.clock import FakeClock
from outlast.toolkit import file as toolkit_file
from outlast.toolkit.access import Toolkit
from outlast.toolkit.file import ToolkitFile
from outlast.toolkit.idempotency.file import FileKeys, tidy_keys
from outlast.toolkit.idempotency.keeper import LEASE
from outlast.toolkit.idempotency.keys import Held, IdempotencyKeys, StoredAnswer
from outlast.toolkit.idempotency.memory import MOST_BYTES, MemoryKeys
from outlast.toolkit.idempotency.records import GRACE
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.store import ToolkitStore
from tests.support.servers.redis_server import RedisServer


async def test_rows_that_have_expired_are_removed_in_steps(tmp_path: Path) -> None:
    clock = FakeClock()
    store = ToolkitFile(str(tmp_path / "toolkit.db"), clock)
    await store.open()
    keys = FileKeys(store)
    for number in range(70):
        await keys.finish(f"{number}", b"p", "t", b"a", 60.0)
    await keys.finish("late", b"p", "t", b"a", LEASE + GRACE + 1)
    await keys.begin("crashed", b"p", "t", LEASE)
    assert not await store.write(tidy_keys, synced=False), "nothing has expired"
    clock.step_wall(60)
    assert [await store.write(tidy_keys, synced=False) for _ in range(2)] == [True, False]
    assert await store.read("select id from idempotency_key order by id") == [("crashed",), ("late",)]
    clock.step_wall(-60)
    clock.advance(LEASE + GRACE)
    assert not await store.write(tidy_keys, synced=False)
    assert await store.read("select id from idempotency_key") == [("late",)]
    await store.close()


async def test_a_key_in_flight_is_free_after_a_new_boot_and_an_answer_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for boot, monotonic in (("one", 5_000.0), ("two", 10.0)):
        monkeypatch.setattr(toolkit_file, "boot_id", lambda boot=boot: boot)
        store = ToolkitFile(str(tmp_path / "toolkit.db"), FakeClock(monotonic=monotonic))
        await store.open()
        keys = FileKeys(store)
        if boot == "one":
            await keys.finish("done", b"p", "t", b"a", 60.0)
        found += [(await keys.begin(id_, b"p", boot, 30.0)).state for id_ in ("running", "done")]
        await store.close()
    assert found == ["begun", "answered"] * 2


async def test_every_key_on_a_server_expires() -> None:
    server = RedisServer()
    server.start()
    kit = Toolkit(server.url, clock=SystemClock(), timeout=30)
    try:
        keys = IdempotencyKeys(kit, ttl=1000)
        held = [await keys.begin([b"%d" % number], b"p") for number in range(2)]
        assert all(isinstance(each, Held) for each in held)
        assert isinstance(held[0], Held)
        await held[0].finish(StoredAnswer(200, (), b"a"))

        async def left(store: ToolkitStore) -> list[int]:
            assert isinstance(store, ToolkitServer)
            found = await store.client.command("KEYS", "*")
            return sorted([await store.client.command("TTL", key) for key in found])

        in_flight, answered = await kit.use(left)
        assert 60 < in_flight <= LEASE + GRACE < 900 < answered <= 1000
    finally:
        await kit.close()
        server.stop()


async def test_memory_refuses_new_keys_at_its_bound_and_forgets_what_has_expired() -> None:
    clock = FakeClock()
    keys = MemoryKeys(ToolkitMemory(clock))
    each = MOST_BYTES // 8
    for number in range(8):
        assert (await keys.begin(f"{number}", b"p", "t", 30.0)).state == "begun"
        assert await keys.finish(f"{number}", b"p", "t", b"x" * each, 60.0 + number)
    with pytest.raises(StoreFull, match="a shorter ttl"):
        await keys.begin("more", b"p", "t", 30.0)
    assert (await keys.begin("7", b"p", "t", 30.0)).state == "answered"
    clock.advance(60)
    assert (await keys.begin("more", b"p", "t", 30.0)).state == "begun"
    clock.advance(60 + 8)
    assert (await keys.begin("7", b"p", "t", 30.0)).state == "begun"
