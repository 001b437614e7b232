"""Each key has one server, and keeps it when others come and go."""

from __future__ import annotations

from collections import Counter

from outlast.clients.memcached.address import MemcachedAddress
from outlast.clients.memcached.client import MemcachedClient

KEYS = [b"outlast:kit:cache:%d" % number for number in range(3000)]


def places(*servers: str) -> dict[bytes, str]:
    client = MemcachedClient(MemcachedAddress(servers=servers))
    return {key: client.server_of(key).name for key in KEYS}


def test_keys_are_spread_evenly_whatever_the_order_of_the_servers() -> None:
    found = places("a:1", "b:1", "c:1")
    assert found == places("c:1", "a:1", "b:1")
    assert all(850 < count < 1150 for count in Counter(found.values()).values())


def test_a_server_that_leaves_moves_its_own_keys_alone() -> None:
    before, after = places("a:1", "b:1", "c:1"), places("a:1", "b:1")
    assert all(after[key] == server for key, server in before.items() if server != "c:1")
    assert {after[key] for key, server in before.items() if server == "c:1"} == {"a:1", "b:1"}
