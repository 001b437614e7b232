"""On a server, every key of the cache expires, and a damaged one is computed again."""

from __future__ import annotations

import hashlib

import pytest

from outlast.toolkit.access import Toolkit
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.store import ToolkitStore
from tests.support.toolkit_cache import Source, cache_on

LIVES = """
local lives = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  lives[#lives + 1] = key
  lives[#lives + 1] = redis.call('PTTL', key)
end
return lives
"""


async def lives(kit: Toolkit) -> dict[str, int]:
    """Return the milliseconds that each key of the cache lives on."""

    async def ask(store: ToolkitStore) -> dict[str, int]:
        assert isinstance(store, ToolkitServer)
        pattern = store.key("cache", "x").partition("cache")[0] + "*"
        found = await store.client.command("EVAL", LIVES, 0, pattern, key="x")
        return dict(zip([key.decode() for key in found[::2]], found[1::2], strict=True))

    return await kit.use(ask)


async def test_every_key_expires_and_versions_of_tags_outlive_the_values(kit: Toolkit) -> None:
    cache, source = cache_on(kit), Source(1)
    await cache.get_or_set("read", source.compute, ttl=60, stale=30, tags=["a"])
    await cache.set("set", 1, ttl=600, tags=["a", "b"])
    await cache._in_use().access.begin("led", hashlib.sha1(b"").hexdigest()[:16], ["c"], lease=10, kept=60, past="")
    found = await lives(kit)
    kinds = sorted(key.split(":")[2] for key in found)
    assert kinds == ["cache", "cache", "cache-lease", "cache-tag", "cache-tag", "cache-tag"]
    assert all(0 < each <= 1_200_000 for each in found.values()), "none is -1: without an end"
    values = [each for key, each in found.items() if key.split(":")[2] == "cache"]
    assert found[next(key for key in found if "cache-tag:{a}" in key)] > max(values)


@pytest.mark.parametrize(
    "damage", [b"", b"x", b"\x7f" * 40, b"\xff" * 400, b"A" * 16 + b"i" * 16 + b"\x00\x00\x00\x05"]
)
async def test_a_damaged_entry_is_computed_again(kit: Toolkit, damage: bytes) -> None:
    cache, source = cache_on(kit), Source(1)
    await cache.get_or_set("k", source.compute, ttl=60)

    async def spoil(store: ToolkitStore) -> None:
        assert isinstance(store, ToolkitServer)
        if damage == b"":
            await store.client.command("DEL", store.key("cache", "k"))
            await store.client.command("LPUSH", store.key("cache", "k"), "of another type")
        else:
            await store.client.command("SET", store.key("cache", "k"), damage, "PX", 60_000)

    await kit.use(spoil)
    assert await cache.get("k") is None
    await kit.use(spoil)
    assert await cache.get_or_set("k", source.compute, ttl=60) == 1
    assert source.began == 2
    assert await cache.get("k") == 1
