"""Every way into the toolkit makes its checks: what is refused is named with its fix, and valid calls go on working."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast import Outlast, OutlastError, Settings
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.fastapi import CachedRoute, ClientAddress, Idempotency, RateLimitMiddleware, rate_limit
from tests.unit.enqueue.test_doors import ODD as ODD_OPTIONS

shop = Outlast("doors", settings=Settings(url="memory:"))
limiter = shop.limiter("1000000/second", name="doors")
board = shop.board("doors", period="1d", max_members=10_000_000)
unique = shop.unique("doors", period="1d", max_members=10_000_000)

MIB: Final = 1024 * 1024
ODD: Final[list[Any]] = [
    *ODD_OPTIONS,
    *(
        "*",
        "?",
        "[a-z]",
        "a{b}",
        "{",
        "}",
        "{}",
        "{0}",
        "{a.b}",
        "{a[0]}",
        "{a!r}",
        "{a:>9}",
        "{{a}}",
        "a:b",
        "a\r\nDEL b",
    ),
    *(
        "é",
        "e\u0301",
        "\ufeff",
        "\u202e",
        "\x7f",
        "~",
        "a" * MIB,
        "é" * MIB,
        "{" * 5000,
        "%s%n",
        "../../etc",
        "a;b",
        "'",
    ),
    *(
        "0/second",
        "-1/s",
        "1e9/ns",
        "10/fortnight",
        "1/0s",
        "nan/s",
        "inf/s",
        "1/s,1/s",
        "1/s" * 1000,
        "," * 1000,
        "½/s",
    ),
    *(
        "1000001/s",
        "9" * 5000 + "/s",
        "1/1e300s",
        "0x1/s",
        "1 / s",
        "1/s\n",
        "month",
        "week",
        "year",
        "1d",
        "1w",
        "90s",
    ),
    *(-1, 0.5, 2**53, 2**53 - 1, -(2**53), 2**63, 1e300, -0.001, "nan", "inf", "-5m", "1e3s", "5 m", "٣s"),
    *(
        [None],
        [[]],
        ["a"] * 65,
        [""],
        ["\ud800"],
        ("a", 7),
        {"a"},
        [1],
        [b"a"],
        ["a" * MIB],
        ["a\n"],
        {"a": "b" * MIB},
        int,
        "int",
        list[int],
        type(None),
    ),
]


class Door:
    """A way in. call: takes the arguments; valid: those that work; only: the one that a valid call must have."""

    def __init__(self, call: Callable[..., Any], valid: dict[str, Any], *more: str) -> None:
        self.call = call
        self.valid = valid
        self.names = (*valid, *more)


def product(a: int, b: str = "") -> int:
    return a


def product_7() -> int:
    return 7


def cached(**options: Any) -> int:
    found: int = shop.cache.cached(**options)(product)(7)
    return found


def configured(**options: Any) -> None:
    Outlast("other", settings=Settings(url="memory:")).cache.configure(**options)


def exempt(**options: Any) -> RateLimitMiddleware:
    return RateLimitMiddleware(_app, **options)


async def _app(*_: Any) -> None: ...


def returned(value: Any) -> Callable[..., Any]:
    return lambda: value


TTLS: Final = ("jitter", "stale", "stale_on_error", "none_ttl", "early", "near")
PERIODS: Final = ("period", "keep", "max_members", "away")
DOORS: Final = {
    "limiter": Door(shop.limiter, {"limits": "1/s", "name": "n"}, "algorithm", "burst", "count_refused", "closed"),
    "take": Door(limiter.take_sync, {"key": "k"}, "cost"),
    "lock": Door(shop.lock, {"name": "n"}, "lease", "wait"),
    "semaphore": Door(shop.semaphore, {"name": "n", "slots": 2}, "lease", "wait"),
    "leader": Door(shop.leader, {"name": "n"}, "lease"),
    "board": Door(shop.board, {"name": "n"}, *PERIODS),
    "unique": Door(shop.unique, {"name": "n"}, *PERIODS),
    "board.add": Door(board.add_sync, {"member": "m"}, "points", "once"),
    "board.set": Door(board.set_sync, {"member": "m", "score": 1}),
    "board.remove": Door(board.remove_sync, {"member": "m"}),
    "board.top": Door(board.top_sync, {}, "n", "ago"),
    "board.around": Door(board.around_sync, {"member": "m"}, "n", "ago"),
    "board.rank": Door(board.rank_sync, {"member": "m"}, "ago"),
    "board.score": Door(board.score_sync, {"member": "m"}, "ago"),
    "board.size": Door(board.size_sync, {}, "ago"),
    "unique.add": Door(unique.add_sync, {"member": "m"}),
    "unique.has": Door(unique.has_sync, {"member": "m"}, "ago"),
    "unique.count": Door(unique.count_sync, {}, "ago"),
    "cache.get": Door(shop.cache.get_sync, {"key": "k"}),
    "cache.set": Door(shop.cache.set_sync, {"key": "k", "value": 7, "ttl": 60}, "tags"),
    "cache.delete": Door(lambda key: shop.cache.delete_sync(key), {"key": "k"}),
    "cache.invalidate": Door(lambda tags: shop.cache.invalidate_sync(tags), {"tags": "t"}),
    "cache.get_or_set": Door(
        lambda key, ttl, **options: shop.cache.get_or_set_sync(key, product_7, ttl=ttl, **options),
        {"key": "k", "ttl": 60},
        "tags",
        *TTLS,
    ),
    "cache.compute": Door(lambda compute: shop.cache.get_or_set_sync("k", compute, ttl=60), {"compute": product_7}),
    "cache.get_many": Door(lambda keys: asyncio.run(shop.cache.get_many(keys)), {"keys": ["k"]}),
    "cache.set_many": Door(lambda values: asyncio.run(shop.cache.set_many(values, ttl=60)), {"values": {"k": 7}}),
    "cache.cached": Door(cached, {"ttl": 60}, "key", "tags", *TTLS),
    "cache.configure": Door(
        configured, {}, "max_value", "max_bytes", "compress_over", "concurrency", "max_wait", "max_waiting"
    ),
    "idempotency": Door(Idempotency, {}, *(each.name for each in fields(Idempotency))),
    "client_address": Door(ClientAddress, {}, "hops", "networks", "header"),
    "cached_route": Door(
        CachedRoute, {"path": "/p/{id}", "ttl": 60}, "identity", "public", "vary", "tags", "stale", "stale_on_error"
    ),
    "middleware": Door(exempt, {"limiter": limiter}, "client", "key", "cost", "exempt"),
    "rate_limit": Door(rate_limit, {"limiter": limiter}, "client", "key", "cost"),
}
TOLD_AS: Final = {"values": ("key=", "cache.set: ")}
WAYS: Final = [(door, name) for door, each in DOORS.items() for name in each.names]


def tried(door: Door, given: dict[str, Any]) -> OutlastError | None:
    """Call a door with these arguments in place of the valid ones; return the error when they are refused."""
    try:
        door.call(**(door.valid | given))
    except (ConfigurationError, InvalidArguments) as error:
        return error
    return None


def is_told(error: OutlastError, names: list[str]) -> bool:
    """Whether a message names one of these arguments, in one short line."""
    text = str(error)
    words = [word for name in names for word in (name, *TOLD_AS.get(name, ()))]
    return any(word in text for word in words) and len(text) < 500 and text.isprintable()


@pytest.mark.parametrize(("door", "name"), WAYS)
def test_an_argument_is_taken_or_named(door: str, name: str) -> None:
    way, wrong, taken = DOORS[door], [], 0
    for value in ODD:
        try:
            error = tried(way, {name: value})
        except Exception as raised:
            wrong.append((repr_of(value), f"{type(raised).__name__}: {raised}"[:300]))
            continue
        taken += error is None
        if error is not None and not is_told(error, [name]):
            wrong.append((repr_of(value), str(error)[:300]))
        if tried(way, {}) is not None:
            wrong.append((repr_of(value), "a valid call after it is refused"))
    assert wrong == []


def repr_of(value: object) -> str:
    try:
        return repr(value)[:60]
    except Exception:
        return type(value).__name__


FREE: Final = {("cache.set", "value"), ("cache.get_or_set", "compute")}
"""Arguments that may be any object."""
SWITCHES: Final = {"count_refused", "closed", "bare_keys", "public"}


@pytest.mark.parametrize(("door", "name"), WAYS)
def test_what_is_of_no_kind_is_refused_and_a_truth_value_is_no_number(door: str, name: str) -> None:
    way = DOORS[door]
    if (door, name) not in FREE:
        assert tried(way, {name: object()}) is not None
        assert (tried(way, {name: True}) is None) == (name in SWITCHES)


odd = st.integers(0, len(ODD) - 1).map(ODD.__getitem__) | st.text(max_size=40) | st.integers() | st.floats()


@given(st.data())
def test_arguments_together_are_taken_or_one_is_named(data: st.DataObject) -> None:
    way = DOORS[data.draw(st.sampled_from(sorted(DOORS)))]
    given_ = data.draw(st.dictionaries(st.sampled_from(way.names), odd, min_size=1, max_size=4))
    error = tried(way, given_)
    assert error is None or is_told(error, list(given_)), str(error)[:300]
    assert tried(way, {}) is None
