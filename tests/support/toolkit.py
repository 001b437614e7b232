"""Every store of the toolkit, for the suites that hold each of them to the same words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from outlast.clients.memcached.address import MemcachedAddress
from outlast.clients.redis.address import Address
from outlast.core.clock import Clock
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.file import ToolkitFile
from outlast.toolkit.memcached import ToolkitMemcached
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.store import ToolkitStore
from outlast.toolkit.tidies import tidies
from tests.support.servers.memcached_server import shared_memcached
from tests.support.servers.redis_cluster import shared_cluster
from tests.support.stores import namespace_of, redis_url

__all__ = ["PLACES", "Place", "toolkit_at"]


@dataclass(frozen=True)
class Place:
    """One kind of store of the toolkit. make(folder, clock): a store not yet opened; the same folder, the same data."""

    name: str
    make: Callable[[Path, Clock], ToolkitStore]
    shared: bool = True
    """Two stores made of one folder reach the same data."""
    caches_only: bool = False
    """It keeps a cache without tags, and nothing else."""


def _at(url: str, folder: Path, clock: Clock) -> ToolkitStore:
    now = (lambda: clock.time() - clock.stepped) if isinstance(clock, FakeClock) else None
    return ToolkitServer(Address.of(f"{url}?namespace={namespace_of(folder)}"), now=now)


def _in_memcached(folder: Path, clock: Clock) -> ToolkitStore:
    url = f"{shared_memcached().url}&namespace={namespace_of(folder)}"
    return ToolkitMemcached(MemcachedAddress.of(url), clock)


PLACES: list[Place] = [
    Place("memory", lambda _, clock: ToolkitMemory(clock), shared=False),
    Place("sqlite", lambda folder, clock: ToolkitFile(str(folder / "toolkit.db"), clock, tidies=tidies())),
    Place("redis", lambda folder, clock: _at(redis_url(), folder, clock)),
    Place("cluster", lambda folder, clock: _at(shared_cluster(), folder, clock)),
    Place("memcached", lambda folder, clock: _in_memcached(folder, clock), caches_only=True),
]


def toolkit_at(place: Place, folder: Path, clock: Clock, *, timeout: float = 30.0) -> Toolkit:
    """Return a toolkit on the store of a folder; another one of the same folder reaches the same data."""
    return Toolkit("", clock=clock, timeout=timeout, connect=lambda _, clock: place.make(folder, clock))
