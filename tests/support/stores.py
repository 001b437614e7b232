"""Every store there is, for the suites that hold each of them to the same words."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from outlast.brokers.memory import MemoryStore
from outlast.brokers.redis.store import store_at
from outlast.brokers.sqlite import SqliteStore
from outlast.core.clock import Clock
from outlast.core.durability import Durability
from outlast.core.policy import DEFAULTS
from outlast.core.store.store import CompleteStore
from outlast.testing.clock import FakeClock
from tests.support.servers.redis_cluster import shared_cluster
from tests.support.servers.redis_programs import IN_SUITE, installed
from tests.support.servers.redis_server import shared_server

__all__ = ["CASES", "OTHERS", "StoreCase", "namespace_of", "redis_url"]


_ELSEWHERE = os.environ.get("OUTLAST_TEST_REDIS_URL", "")
"""Another server to hold to the same words, a Cluster say; what was put there stays."""


@dataclass(frozen=True)
class StoreCase:
    """One kind of store. make(folder, clock, max_body): a store not yet opened; the same folder, the same jobs."""

    name: str
    make: Callable[[Path, Clock, int], CompleteStore]
    shared: bool
    """Two stores made of one folder reach the same jobs."""
    durabilities: tuple[Durability, ...]
    """What it may say of itself, by where its files lie."""
    spread: bool = False
    """What spans its queues is not one step: `Capabilities.spread`."""


def _memory(folder: Path, clock: Clock, max_body: int = DEFAULTS.max_body) -> CompleteStore:
    return MemoryStore(clock, max_body=max_body)


def _sqlite(folder: Path, clock: Clock, max_body: int = DEFAULTS.max_body) -> CompleteStore:
    return SqliteStore(str(folder / "jobs.db"), clock=clock, max_body=max_body)


def namespace_of(folder: Path) -> str:
    """Return the namespace of the Redis store for a folder."""
    return hashlib.sha256(str(folder).encode()).hexdigest()[:16]


def _server_time(clock: Clock) -> Callable[[], float]:
    """Return the clock of a Redis server: a step of this host's wall clock does not move it."""
    return lambda: clock.time() - clock.stepped if isinstance(clock, FakeClock) else clock.time()


def _cluster(folder: Path, clock: Clock, max_body: int = DEFAULTS.max_body) -> CompleteStore:
    url = f"{shared_cluster()}?namespace={namespace_of(folder)}"
    return store_at(url, clock=clock, max_body=max_body, now=_server_time(clock))


def redis_url() -> str:
    """Return the URL, without a namespace, of the server that the Redis stores of the suite use."""
    return _ELSEWHERE or shared_server("").users_url


def _redis(folder: Path, clock: Clock, max_body: int = DEFAULTS.max_body, *, program: str = "") -> CompleteStore:
    elsewhere = "" if program else _ELSEWHERE
    url = f"{elsewhere or shared_server(program).users_url}?namespace={namespace_of(folder)}"
    return store_at(url, clock=clock, max_body=max_body, now=_server_time(clock))


CASES: list[StoreCase] = [
    StoreCase("memory", _memory, shared=False, durabilities=("memory",)),
    StoreCase("redis", _redis, shared=True, durabilities=("memory",), spread="+cluster:" in _ELSEWHERE),
    StoreCase("cluster", _cluster, shared=True, durabilities=("memory",), spread=True),
    StoreCase("sqlite", _sqlite, shared=True, durabilities=("os-crash", "process-crash")),
]
OTHERS: list[StoreCase] = [
    StoreCase(name, partial(_redis, program=program), shared=True, durabilities=("memory",))
    for name, program in installed(
        *([] if _ELSEWHERE or os.environ.get("OUTLAST_TEST_REDIS_SERVER") else IN_SUITE)
    ).items()
]
"""The oldest server that is served, and a Valkey, where scripts/servers has installed them."""
