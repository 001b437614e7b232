"""What sessions leave in a store: no id that works, keys that expire, rows that are removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.core.errors import StoreFull
from outlast.core.toolkit_errors import SessionEnded
from outlast.testing.clock import FakeClock
from outlast.toolkit import file as toolkit_file
from outlast.toolkit.access import Toolkit
from outlast.toolkit.file import ToolkitFile
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.sessions import memory as in_memory
from outlast.toolkit.sessions.file import tidy_sessions
from outlast.toolkit.sessions.memory import MemorySessions
from outlast.toolkit.sessions.sessions import Sessions
from outlast.toolkit.sessions.store import GRACE, SessionChange
from outlast.toolkit.store import ToolkitStore
from tests.support.servers.redis_server import RedisServer
from tests.support.toolkit_sessions import begun_session, sessions_on

DUMP = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  found[#found + 1] = key
  local kind = redis.call('TYPE', key).ok
  local held = kind == 'hash' and redis.call('HGETALL', key) or redis.call('ZRANGE', key, 0, -1)
  for _, each in ipairs(held) do found[#found + 1] = each end
end
return found
"""


@pytest.fixture
async def server_kit() -> AsyncIterator[Toolkit]:
    """A toolkit on a server of this test's own."""
    server = RedisServer()
    server.start()
    kit = Toolkit(server.url, clock=SystemClock(), timeout=30)
    yield kit
    await kit.close()
    server.remove()


async def used(sessions: Sessions) -> list[str]:
    """Do with sessions all that there is; return the ids that clients were given."""
    anonymous = await begun_session(sessions, a=1)
    session = await sessions.open(anonymous)
    session.login("ann")
    session.flash("hello")
    await session.save()
    login = session.issued
    assert login is not None
    session.rotate()
    session["b"] = 2
    await session.save()
    rotated = session.issued
    assert rotated is not None
    await session.take_flashes()
    other = await begun_session(sessions, "ann", a=1)
    return [anonymous, login, rotated, other]


async def judge_stolen(sessions: Sessions, ids: list[str], dump: bytes) -> None:
    """Look for parts of ids in all that a store has, and try as ids all that look like some."""
    assert b"ann" in dump, "it is a dump of the store"
    for id_ in ids:
        for begin in range(0, len(id_) - 8):
            assert id_[begin : begin + 8].encode() not in dump
    digests = [each.handle for each in await sessions.of_user("ann")]
    assert len(digests) == 2
    for digest in digests:
        assert digest.encode() in dump or bytes.fromhex(digest) in dump
        for stolen in (digest, digest[:43], f"{digest}"[-43:], digest.upper()[:43]):
            assert not (await sessions.open(stolen)).exists


async def test_a_stolen_file_has_no_id(tmp_path: Path) -> None:
    path = tmp_path / "toolkit.db"
    kit = Toolkit(f"sqlite:{path}", clock=SystemClock(), timeout=30)
    sessions = sessions_on(kit)
    ids = await used(sessions)
    dump = b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.name.startswith("toolkit.db"))
    await judge_stolen(sessions, ids, dump)
    await kit.close()


async def test_a_stolen_server_has_no_id_and_every_key_expires(server_kit: Toolkit) -> None:
    sessions = sessions_on(server_kit, idle=600, absolute=1200)
    ids = await used(sessions)

    async def dumped(store: ToolkitStore) -> list[bytes]:
        assert isinstance(store, ToolkitServer)
        found: list[bytes] = await store.client.command("EVAL", DUMP, 0)
        return found

    async def left(store: ToolkitStore) -> dict[bytes, int]:
        assert isinstance(store, ToolkitServer)
        keys = await store.client.command("KEYS", "*")
        return {key: await store.client.command("TTL", key) for key in keys}

    await judge_stolen(sessions, ids, b"\n".join(await server_kit.use(dumped)))
    lives = await server_kit.use(left)
    assert sorted(lives.values()) == pytest.approx([GRACE, GRACE, 600, 600, 1200], abs=30)
    await sessions.revoke_user("ann")
    assert sorted((await server_kit.use(left)).values()) == pytest.approx([GRACE, GRACE], abs=30)


async def test_of_a_replaced_id_nothing_else_is_kept(server_kit: Toolkit) -> None:
    sessions = sessions_on(server_kit)
    session = await sessions.open(await begun_session(sessions, "ann", secret="of ann"))
    replaced = session.handle
    session.rotate()
    await session.save()

    async def kept(store: ToolkitStore) -> tuple[list[bytes], list[bytes]]:
        assert isinstance(store, ToolkitServer)
        keys = await store.client.command("KEYS", "*")
        [old] = [key for key in keys if key.endswith(replaced.encode())]
        [index] = [key for key in keys if b":user:" in key]
        return await store.client.command("HKEYS", old), await store.client.command("ZRANGE", index, 0, -1)

    fields, indexed = await server_kit.use(kept)
    assert sorted(fields) == [b"t", b"x"]
    assert indexed == [session.handle.encode()]


async def test_two_users_may_share_the_set_of_their_sessions(server_kit: Toolkit) -> None:
    """Its name has a SHA-1, for which a user can look for a name that is as another's."""
    sessions = sessions_on(server_kit)
    await begun_session(sessions, "ann")
    id_ = await begun_session(sessions, "bob")
    [of_bob] = await sessions.of_user("bob")

    async def mix(store: ToolkitStore) -> None:
        assert isinstance(store, ToolkitServer)
        for key in await store.client.command("KEYS", "*:user:*"):
            await store.client.command("ZADD", key, 1, of_bob.handle)

    await server_kit.use(mix)
    assert [each.user for each in await sessions.of_user("ann")] == ["ann"]
    assert await sessions.revoke_user("ann") == 1
    assert (await sessions.open(id_)).user == "bob"


@pytest.mark.parametrize("damage", [b"a text", b""])
async def test_a_damaged_key_is_no_session(server_kit: Toolkit, damage: bytes) -> None:
    sessions = sessions_on(server_kit)
    id_ = await begun_session(sessions, "ann", a=1)

    async def spoil(store: ToolkitStore) -> None:
        assert isinstance(store, ToolkitServer)
        [key] = [key for key in await store.client.command("KEYS", "*") if b":user:" not in key]
        if damage:
            await store.client.command("SET", key, damage)
        else:
            await store.client.command("HDEL", key, "e")

    await server_kit.use(spoil)
    session = await sessions.open(id_)
    assert not session.exists
    session["a"] = 2
    await session.save()
    assert session.issued != id_
    assert await sessions.of_user("ann") == []


async def test_a_damaged_row_is_no_session(tmp_path: Path) -> None:
    kit = Toolkit(f"sqlite:{tmp_path / 'toolkit.db'}", clock=SystemClock(), timeout=30)
    sessions = sessions_on(kit)
    id_, other = await begun_session(sessions, "ann", a=1), await begun_session(sessions, "ann", a=1)
    late, handle = await sessions.open(id_), (await sessions.open(other)).handle

    async def spoil(store: ToolkitStore) -> None:
        assert isinstance(store, ToolkitFile)
        digest = bytes.fromhex(late.handle)
        spoilt = "update session set fields = x'c1' where id = ?"
        await store.write(lambda session: session.run(spoilt, digest), synced=False)

    await kit.use(spoil)
    session = await sessions.open(id_)
    assert not session.exists
    session["a"] = 2
    late["a"] = 3
    with pytest.raises(SessionEnded):
        await late.save()
    await session.save()
    assert session.issued != id_
    assert [each.handle for each in await sessions.of_user("ann")] == [handle]
    assert await sessions.revoke_user("ann") == 2, "the damaged row too"
    await kit.close()


async def test_sessions_that_have_ended_are_removed_in_steps(tmp_path: Path) -> None:
    clock = FakeClock()
    kit = Toolkit("", clock=clock, timeout=30, connect=lambda _, clock: ToolkitFile(str(tmp_path / "kit.db"), clock))
    sessions = sessions_on(kit, idle=60, absolute=120)
    for _ in range(250):
        await begun_session(sessions, a=1)

    async def tidy(store: ToolkitStore) -> bool:
        assert isinstance(store, ToolkitFile)
        return await store.write(tidy_sessions, synced=False)

    async def rows(store: ToolkitStore) -> int:
        assert isinstance(store, ToolkitFile)
        found: int = (await store.read("select count(*) from session"))[0][0]
        return found

    assert not await kit.use(tidy), "none has ended"
    clock.advance(50)
    await begun_session(sessions, a=1)
    clock.advance(10)
    assert [await kit.use(tidy) for _ in range(2)] == [True, False]
    assert await kit.use(rows) == 1
    await kit.close()


async def test_sessions_live_on_after_a_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = ""
    for boot, monotonic in (("one", 5_000.0), ("two", 10.0)):
        monkeypatch.setattr(toolkit_file, "boot_id", lambda boot=boot: boot)
        clock = FakeClock(monotonic=monotonic)
        kit = Toolkit(f"sqlite:{tmp_path / 'toolkit.db'}", clock=clock, timeout=30)
        sessions = sessions_on(kit)
        id_ = id_ or await begun_session(sessions, "ann", a=1)
        assert (await sessions.open(id_)).user == "ann"
        await kit.close()


async def test_memory_refuses_new_sessions_at_its_bound_and_forgets_what_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_memory, "MOST_BYTES", 10_000)
    clock = FakeClock()
    kit = Toolkit("", clock=clock, timeout=30, connect=lambda _, clock: ToolkitMemory(clock))
    sessions = sessions_on(kit, idle=60, absolute=600)
    ids = [await begun_session(sessions, a="x" * 1000) for _ in range(5)]
    with pytest.raises(StoreFull, match="shorter idle"):
        await begun_session(sessions, a=1)
    session = await sessions.open(ids[0])
    session["b"] = 1
    await session.save()
    clock.advance(60)
    await begun_session(sessions, a=1)
    assert not (await sessions.open(ids[0])).exists


async def test_memory_keeps_no_note_of_each_use() -> None:
    clock = FakeClock()
    store = ToolkitMemory(clock)
    form = MemorySessions(store)
    rule = sessions_on(Toolkit("", clock=clock, timeout=30, connect=lambda *_: store)).rule
    await form.save("a", SessionChange(rule=rule, create=True))
    for _ in range(1000):
        clock.advance(1)
        await form.save("a", SessionChange(rule=rule))
    assert len(form._section._ends) < 100
