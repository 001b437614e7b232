"""Keys of any text meet in no piece and on no store, and what is refused damages nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

import pytest

from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.toolkit.access import Toolkit
from outlast.toolkit.boards.board import Leaderboard
from outlast.toolkit.boards.unique import UniqueCount
from outlast.toolkit.idempotency.keys import Held, IdempotencyKeys, StoredAnswer
from outlast.toolkit.limiter.limiter import Limiter
from outlast.toolkit.lock.lock import Lock
from tests.support.toolkit_cache import cache_on

MIB: Final = 1024 * 1024
SHORT: Final = [
    *("a", "A", "a ", " a", "a\x00", "\x00", "\x00\x00", "a\n", "a\r\n", "\r\nDEL a\r\n", "*", "?", "[a]", "{", "}"),
    *("{}", "{a}", "{{a}}", "a{b}", "a:b", "a::b", ":", "::", "%", "%%", "%61", "%7E", "~", "é", "e\u0301", "\ufeff"),
    *(
        "\u202e",
        "\ud800",
        "\udfff",
        "\ud83d\ude00",
        "😀",
        "İ",
        "i̇",
        "\u017f",
        "s",
        "ﬁ",
        "fi",
        "'",
        '"',
        "\\",
        ";",
        "../a",
        "\x7f",
    ),
    *("x" * 199, "x" * 200, "x" * 201, "x" * 202, "x" * 64 + "~" + "0" * 64, "{" * 67, "{" * 66, "é" * 33, "é" * 34),
]
"""Texts that a store, a pattern, a line of a protocol or a normalization could take for each other."""
KEYS: Final = [*SHORT, "a" * MIB, "a" * MIB + "b", "{" * MIB, "\x00" * 1000, "\x00" * 1001]


async def in_cache(kit: Toolkit) -> None:
    cache = cache_on(kit)
    for number, key in enumerate(KEYS):
        await cache.set(key, number, ttl=3600, tags=[key])
    for number, key in enumerate(KEYS):
        assert await cache.get(key) == number
        await cache.invalidate(key)
        assert await cache.get(key) is None
    assert await cache.get_many(KEYS) == {}


async def in_limiter(kit: Toolkit) -> None:
    limiter = Limiter(lambda: kit, "1/day", name="a")
    for key in KEYS:
        assert (await limiter.take(key)).allowed, key[:80]
    for key in KEYS:
        assert not (await limiter.take(key)).allowed


async def in_lock(kit: Toolkit) -> None:
    async def hold(keys: list[str]) -> None:
        if keys:
            async with Lock(lambda: kit, keys[0], wait=0):
                await hold(keys[1:])

    await hold(KEYS)


async def in_idempotency(kit: Toolkit) -> None:
    keys = IdempotencyKeys(kit, ttl=3600)
    texts = [key.encode("utf-8", "surrogatepass") for key in KEYS]
    scopes = [[b"ann", b"POST", b"/", key] for key in texts]
    scopes += [[b"ann", b"POST", b"/a", b"a"], [b"annPOST", b"", b"/", b"a"], [b"", b"annPOST", b"/", b"a"]]
    for number, scope in enumerate(scopes):
        held = await keys.begin(scope, b"p")
        assert isinstance(held, Held), scope
        assert await held.finish(StoredAnswer(200, (), b"%d" % number))
    for number, scope in enumerate(scopes):
        found = await keys.begin(scope, b"p")
        assert isinstance(found, StoredAnswer)
        assert found.body == b"%d" % number


async def in_boards(kit: Toolkit) -> None:
    one = Leaderboard(lambda: kit, "one")
    for number, key in enumerate(KEYS):
        board, unique = Leaderboard(lambda: kit, key), UniqueCount(lambda: kit, key)
        assert await board.add("m", number) == number
        assert await unique.add("m")
        assert await one.add("all", 1, once=key) == number + 1
    for member in SHORT:
        assert await one.add(member, 1) == 1
    assert await one.size() == len(SHORT) + 1
    assert sorted(each.member for each in await one.top(1000)) == sorted([*SHORT, "all"])


PIECES: Final[dict[str, Callable[[Toolkit], Awaitable[None]]]] = {
    "cache": in_cache,
    "limiter": in_limiter,
    "lock": in_lock,
    "idempotency": in_idempotency,
    "boards": in_boards,
}


@pytest.mark.parametrize("piece", PIECES)
async def test_keys_of_any_text_never_meet(kit: Toolkit, piece: str) -> None:
    await PIECES[piece](kit)


NUMBERS: Final[list[Any]] = [
    *(True, False, None, "1", 1.0, 0.5, 1j, b"1", [], [1], float("nan"), float("inf"), 1e300, 10**400, -(10**400)),
]
TIMES: Final[list[Any]] = [
    -1,
    0,
    -0.001,
    float("nan"),
    float("inf"),
    1e300,
    10**400,
    True,
    None,
    "",
    "-5m",
    "1e3s",
    [60],
]
NO_KEYS: Final[list[Any]] = ["", None, 7, True, b"k", ["k"], {"k": 1}, ("k",), object()]


async def test_what_is_refused_damages_nothing(kit: Toolkit) -> None:
    cache, limiter = cache_on(kit), Limiter(lambda: kit, "9/day", name="a")
    board, unique = Leaderboard(lambda: kit, "b", period="1d"), UniqueCount(lambda: kit, "b")
    await cache.set("k", 1, ttl=3600, tags=["t"])
    await board.add("k", 5)
    await unique.add("k")
    calls: list[Callable[[], Awaitable[object]]] = []
    for key in NO_KEYS:
        calls += [lambda key=key: cache.set(key, 2, ttl=60), lambda key=key: cache.get(key)]  # type: ignore[misc]
        calls += [lambda key=key: cache.delete(key), lambda key=key: cache.invalidate(key)]  # type: ignore[misc]
        calls += [lambda key=key: cache.set("k", 2, ttl=60, tags=[key])]  # type: ignore[misc]
        calls += [lambda key=key: limiter.take(key), lambda key=key: board.add(key)]  # type: ignore[misc]
        calls += [lambda key=key: board.remove(key), lambda key=key: board.rank(key)]  # type: ignore[misc]
        calls += [lambda key=key: unique.add(key), lambda key=key: unique.has(key)]  # type: ignore[misc]
        if key is not None:
            calls.append(lambda key=key: board.add("k", 1, once=key))  # type: ignore[misc]
    for time in TIMES:
        calls.append(lambda time=time: cache.set("k", 2, ttl=time))  # type: ignore[misc]
    for number in NUMBERS:
        calls += [lambda n=number: limiter.take("k", cost=n), lambda n=number: board.add("k", n)]  # type: ignore[misc]
        calls += [lambda n=number: board.set("k", n), lambda n=number: board.top(n)]  # type: ignore[misc]
        calls += [lambda n=number: board.around("k", n), lambda n=number: unique.count(ago=n)]  # type: ignore[misc]
    calls += [
        lambda: board.add("m" * 513),
        lambda: unique.add("é" * 257),
        lambda: cache.set("k", Random(1).randbytes(MIB).hex(), ttl=60),
    ]
    calls += [lambda: cache.set("k", object(), ttl=60), lambda: cache.set("k", {1, object()}, ttl=60)]
    calls += [lambda: limiter.take("k", cost=10), lambda: board.add("k", 2**53), lambda: board.set("k", -(2**53))]
    for call in calls:
        with pytest.raises((InvalidArguments, ConfigurationError)) as refused:
            await call()
        assert len(str(refused.value)) < 500
    assert await cache.get("k") == 1
    assert (await limiter.take("k")).remaining == 8
    assert [(each.member, each.score) for each in await board.top()] == [("k", 5)]
    assert (await board.score("k"), await unique.count(), await unique.add("k")) == (5, 1, False)
    async with Lock(lambda: kit, "k", wait=0):
        await cache.invalidate("t")
    assert await cache.get("k") is None
