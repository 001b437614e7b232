"""The ways in which the store of the toolkit goes away, each with its return: the second table in docs/toolkit.md."""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from outlast.aio.clock import SystemClock
from outlast.toolkit.access import Toolkit
from tests.support.disk import fill, mounted, read_only
from tests.support.servers.proxy import Proxy, proxied
from tests.support.servers.redis_acl import PASSWORD, USER, setuser
from tests.support.servers.redis_fleet import Node, node, wait_for
from tests.support.sqlite_file import locked

__all__ = ["WAYS", "Place", "Way", "page_lines"]


@dataclass(frozen=True)
class Place:
    """A store. begin, end: of its outage."""

    url: str
    begin: Callable[[], object]
    end: Callable[[], object]


@dataclass(frozen=True)
class Way:
    """A way to go away. name, waits: the columns of its line in docs/toolkit.md.

    waits: the first call waits for toolkit_timeout. goes_on: rows of `sides` that need nothing that is away.
    first_use: the store is away from the start. looks: how often a row may be whole before it finds the store away.
    """

    name: str
    make: Callable[[Path], AbstractAsyncContextManager[Place]]
    waits: bool = False
    first_use: bool = False
    goes_on: frozenset[str] = frozenset()
    looks: int = 1


Make = Callable[[Path], AbstractAsyncContextManager[Place]]


def _redis(begin: Callable[[Node], object], end: Callable[[Node], object]) -> Make:
    @asynccontextmanager
    async def make(folder: Path) -> AsyncIterator[Place]:
        with node(folder / "redis") as server:
            _permit(server)
            url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}/0"
            yield Place(url, partial(begin, server), partial(end, server))

    return make


def _config(name: str, value: str) -> Callable[[Node], object]:
    return lambda server: server.ask("CONFIG", "SET", name, value)


def _fail_to_save(server: Node) -> None:
    server.ask("CONFIG", "SET", "save", "3600 1000000")
    shutil.rmtree(server.folder)
    server.ask("BGSAVE")
    wait_for(lambda: b"rdb_last_bgsave_status:err" in server.ask("INFO", "persistence"))


def _permit(server: Node) -> None:
    server.ask(*setuser("*"))


def _start(server: Node) -> None:
    server.start()
    _permit(server)


def _rotate_password(server: Node) -> None:
    server.ask("ACL", "SETUSER", USER, "resetpass", ">another")
    server.ask("CLIENT", "KILL", "USER", USER)


def _proxied(begin: Callable[[Proxy], object]) -> Make:
    @asynccontextmanager
    async def make(folder: Path) -> AsyncIterator[Place]:
        with node(folder / "redis") as server:
            async with proxied(server.port) as proxy:
                yield Place(f"redis://127.0.0.1:{proxy.port}/0", partial(begin, proxy), proxy.heal)

    return make


def _drop(proxy: Proxy) -> None:
    proxy.faults.refuse = True
    proxy.reset()


def _hold(proxy: Proxy) -> None:
    proxy.faults.hold = True
    proxy.deafen()


def _file(
    begin: Callable[[Path], object], end: Callable[[Path], object] = lambda path: None, *, disk: str = ""
) -> Make:
    @asynccontextmanager
    async def make(folder: Path) -> AsyncIterator[Place]:
        with ExitStack() as stack:
            there = folder / "there"
            if disk:
                stack.enter_context(mounted(there, disk))
            else:
                there.mkdir()
            path = there / "toolkit.db"
            yield Place(f"sqlite:{path}", partial(begin, path), partial(end, path))

    return make


def _within(block: Callable[[Path], Any], *, disk: str = "") -> Make:
    """Return the way of an outage that lasts for a block."""
    stack = ExitStack()
    return _file(lambda path: stack.enter_context(block(path)), lambda path: stack.close(), disk=disk)


def _remove(path: Path) -> None:
    for each in path.parent.glob("toolkit.db*"):
        each.unlink(missing_ok=True)


async def _made(path: Path) -> None:
    kit = Toolkit(f"sqlite:{path}", clock=SystemClock(), timeout=60)
    await kit.check()
    await kit.close()


@asynccontextmanager
async def _replaced(folder: Path) -> AsyncIterator[Place]:
    other = folder / "other.db"
    await _made(other)
    async with _file(other.rename)(folder) as place:
        yield place


@asynccontextmanager
async def _damaged(folder: Path) -> AsyncIterator[Place]:
    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xa5" * 3000)

    async with _file(damage, _remove)(folder) as place:
        await _made(Path(place.url.removeprefix("sqlite:")))
        yield place


WAYS: Final = (
    Way("Redis is killed", _redis(Node.kill, _start)),
    Way(
        "Redis hangs (SIGSTOP)",
        _redis(lambda server: server.signal(signal.SIGSTOP), lambda server: server.signal(signal.SIGCONT)),
        waits=True,
    ),
    Way("its connections are cut, and new ones too", _proxied(_drop)),
    Way("it accepts connections and never answers", _proxied(_hold), waits=True),
    Way(
        "it is at its `maxmemory` (OOM)",
        _redis(_config("maxmemory", "1"), _config("maxmemory", "0")),
        goes_on=frozenset({"Invalidation", "SessionRead"}),
    ),
    Way(
        "it cannot write to its disk (MISCONF)",
        _redis(_fail_to_save, _config("stop-writes-on-bgsave-error", "no")),
        goes_on=frozenset({"SessionRead"}),
    ),
    Way(
        "it has become a replica (READONLY)",
        _redis(
            lambda server: server.ask("REPLICAOF", "127.0.0.1", 1), lambda server: server.ask("REPLICAOF", "NO", "ONE")
        ),
        goes_on=frozenset({"SessionRead"}),
    ),
    Way("its password was changed", _redis(_rotate_password, _permit)),
    Way(
        "it permits the user no command (NOPERM)",
        _redis(lambda server: server.ask("ACL", "SETUSER", USER, "-@all"), _permit),
    ),
    Way("the file is removed", _file(_remove)),
    Way("the file is replaced by another", _replaced),
    Way("another process keeps the file locked", _within(locked), waits=True, goes_on=frozenset({"SessionRead"})),
    Way(
        "the disk of the file is full",
        _file(lambda path: fill(path.parent), lambda path: (path.parent / "filler").unlink(), disk="8m"),
        looks=50,
        goes_on=frozenset({"SessionRead"}),
    ),
    Way(
        "the folder of the file cannot be written, at the first use",
        _within(lambda path: read_only(path.parent), disk="8m"),
        first_use=True,
    ),
    Way(
        "the file is of another program, at the first use",
        _file(lambda path: path.write_bytes(b"of another program" * 500), _remove),
        first_use=True,
    ),
    Way("the file is damaged, at the first use", _damaged, first_use=True),
)


def page_lines() -> list[str]:
    """Return the lines of the table in docs/toolkit.md, in order."""
    return [f"| {each.name} | {'`toolkit_timeout`' if each.waits else 'no wait'} |" for each in WAYS]
