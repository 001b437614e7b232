"""What a limiter leaves in each store: nothing that does not expire, and a bounded number of keys in a process."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from outlast.clients.redis import Address, RedisClient
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.file import FileSession, ToolkitFile
from outlast.toolkit.limiter import file as limit_file
from outlast.toolkit.limiter import memory as limit_memory
from outlast.toolkit.limiter.file import FileLimits
from outlast.toolkit.limiter.forms import limits_of
from outlast.toolkit.limiter.limiter import Limiter
from outlast.toolkit.limiter.memory import MemoryLimits
from outlast.toolkit.limiter.quotas import rules_of
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.store import ToolkitStore
from tests.support.servers.redis_server import shared_server

of_algorithm = pytest.mark.parametrize("algorithm", ["gcra", "sliding", "fixed"])


@of_algorithm
async def test_every_key_of_a_server_expires_when_its_limits_are_whole(algorithm: str, tmp_path: Path) -> None:
    space = f"{tmp_path.parent.name}-{tmp_path.name}"[-40:]
    client = RedisClient(Address.of(shared_server("").url))
    await client.open()
    kit = Toolkit(f"{shared_server('').users_url}?namespace={space}", clock=FakeClock(), timeout=30)
    limiter = Limiter(lambda: kit, "3/minute, 9/hour", name="api", algorithm=algorithm, count_refused=True)
    longest = max([(await limiter.take(f"k{number % 12}")).reset for number in range(50)])
    await kit.close()
    keys = [key.decode() for key in await client.command("KEYS", f"{space}:*")]
    assert len(keys) == 13, "12 keys, and the processes"
    ends = [await client.command("PTTL", key) for key in keys]
    assert all(0 < end <= longest * 1000 + 1 for end in ends), ends
    await client.close()


@pytest.mark.parametrize("count", [5, 1000])
async def test_a_client_that_keeps_trying_makes_its_key_no_larger(count: int, tmp_path: Path) -> None:
    """A refused request that is counted has an entry of its own up to a count of 128; above it a step has one."""
    client = RedisClient(Address.of(shared_server("").url))
    await client.open()
    clock = FakeClock()
    space = f"{tmp_path.parent.name}-{tmp_path.name}"[-40:]
    server = ToolkitServer(Address.of(f"{shared_server('').url}?namespace={space}"), now=clock.time)
    file = ToolkitFile(str(tmp_path / "toolkit.db"), clock)
    rules = rules_of("api", f"{count}/hour", algorithm="sliding", count_refused=True)
    for store in (server, file):
        await store.open()
        for number in range(400):
            clock.advance(7)
            assert (await limits_of(store).take(rules, "k", 3)).allowed == (number < count // 3)
    entry = 1 + 9 + 3
    assert await client.command("STRLEN", server.key("limiter", "k")) <= 10 + min(count, 129) * entry
    row = file.read_row("select length(state) from limits")
    assert row is not None
    assert row[0] <= 10 + min(count, 129) * entry
    await server.close()
    await file.close()
    await client.close()


@pytest.mark.parametrize("back", [30, 60, 61, 5000])
@of_algorithm
async def test_a_clock_that_is_set_back_gives_nothing_back_early_and_shuts_no_key_out(
    algorithm: str, back: int, tmp_path: Path
) -> None:
    clock = FakeClock()
    space = f"{tmp_path.parent.name}-{tmp_path.name}"[-40:]
    server = ToolkitServer(Address.of(f"{shared_server('').url}?namespace={space}"), now=clock.time)
    file, memory = ToolkitFile(str(tmp_path / "toolkit.db"), clock), ToolkitMemory(clock)
    rules = rules_of("api", "5/minute", algorithm=algorithm)
    stores = [limits_of(each) for each in (server, file, memory)]
    await server.open()
    await file.open()
    assert all([(await each.take(rules, "k", 5)).allowed for each in stores])
    clock.step_wall(-back)
    for _ in range(59):
        assert not any([(await each.take(rules, "k", 5)).allowed for each in stores])
        clock.advance(1)
    refused = [await each.take(rules, "k", 5) for each in stores]
    assert len({each.standings for each in refused}) == 1
    clock.advance(61)
    assert all([(await each.take(rules, "k", 5)).allowed for each in stores])
    await server.close()
    await file.close()


async def test_decisions_on_a_file_wait_for_no_sync(tmp_path: Path) -> None:
    file = ToolkitFile(str(tmp_path / "toolkit.db"), FakeClock())
    await file.open()
    limits = FileLimits(file)
    writer = file._file._writer
    assert writer is not None
    for step in (limits.take(rules_of("api", "2/hour"), "k", 1), limits.live("api", "a")):
        await file.write(lambda _: None, synced=True)
        assert writer._session.synced
        await step
        assert not writer._session.synced
    await file.close()


async def test_rows_of_a_file_are_removed_when_their_limits_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit_file, "TIDY_AT_ONCE", 10)
    clock = FakeClock()
    file = ToolkitFile(str(tmp_path / "toolkit.db"), clock)
    await file.open()
    limits, rules = FileLimits(file), rules_of("api", "3/minute")
    for number in range(25):
        await limits.take(rules, f"k{number}", 1)
    clock.advance(10)
    await limits.take(rules, "later", 3)
    clock.advance(10)
    assert [await file.write(limit_file.tidy, synced=False) for _ in range(3)] == [True, True, False]
    assert await file.read("select key from limits") == [("later",)]
    await file.close()


async def test_processes_of_a_file_are_counted_while_they_note_themselves(tmp_path: Path) -> None:
    clock = FakeClock()
    file = ToolkitFile(str(tmp_path / "toolkit.db"), clock)
    await file.open()
    limits = FileLimits(file)
    assert [await limits.live("api", each) for each in "abca"] == [1, 2, 3, 3]
    assert await limits.live("other", "a") == 1
    clock.advance(15)
    assert await limits.live("api", "a") == 3
    clock.advance(6)
    assert await limits.live("api", "a") == 1
    await file.close()


async def test_a_damaged_state_is_forgotten(tmp_path: Path) -> None:
    space = f"{tmp_path.parent.name}-{tmp_path.name}"[-40:]
    client = RedisClient(Address.of(shared_server("").url))
    await client.open()
    server = ToolkitServer(Address.of(f"{shared_server('').url}?namespace={space}"))
    file = ToolkitFile(str(tmp_path / "toolkit.db"), FakeClock())
    rules = rules_of("api", "2/hour")
    for store in (server, file):
        await store.open()
        for damage in (b"", b"\xc1", b"no msgpack", b"\x01", b"\x90"):
            assert (await limits_of(store).take(rules, "k", 2)).allowed
            if isinstance(store, ToolkitServer):
                await client.command("SET", store.key("limiter", "k"), damage)
            else:
                await store.write(partial(damaged, damage), synced=False)
            assert (await limits_of(store).take(rules, "k", 2)).allowed, damage
            assert not (await limits_of(store).take(rules, "k", 1)).allowed
            await forget(store, client)
        await store.close()
    await client.close()


def damaged(damage: bytes, session: FileSession) -> None:
    session.run("update limits set state = ?", damage)


async def forget(store: ToolkitStore, client: RedisClient) -> None:
    if isinstance(store, ToolkitServer):
        await client.command("DEL", store.key("limiter", "k"))
    elif isinstance(store, ToolkitFile):
        await store.write(lambda session: session.run("delete from limits"), synced=False)


def test_a_process_forgets_what_has_expired_and_the_key_that_is_soonest_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_memory, "MOST_KEYS", 10)
    clock = FakeClock()
    limits, rules = MemoryLimits(clock), rules_of("api", "2/hour")
    for _ in range(2):
        assert limits.take_now(rules, "first", 1).allowed
    for number in range(30):
        clock.advance(1)
        assert limits.take_now(rules, f"k{number}", 1).allowed
        assert len(limits) <= 10
    assert not limits.take_now(rules, "first", 1).allowed, "it is whole later than the others"
    assert limits.take_now(rules, "k0", 2).allowed, "it was forgotten"
    clock.advance(7200)
    for number in range(20):
        limits.take_now(rules, f"new {number}", 1)
        clock.advance(1800)
    assert len(limits) <= 2
